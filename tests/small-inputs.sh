#!/usr/bin/env bash
# Small inputs that failed once, each with the right result. They came from the bug reports of
# other tools and from people who tried Towline for the first time.
#
#   bash tests/small-inputs.sh            # all; exit code 0 if each is right
#   bash tests/small-inputs.sh equal moved    # these; `--list` names them
#
# It runs the programs of $TOWLINE_BIN (target/release, else target/debug). Some inputs need
# root or a tool of the system; where that is missing the line says SKIPPED, and the exit
# code is 77 if no input failed.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
bin=${TOWLINE_BIN:-}
[ -n "$bin" ] || for bin in "$root/target/release" "$root/target/debug"; do [ -x "$bin/towlined" ] && break; done
PATH=$bin:$PATH
export PATH
unset TOWLINE_SERVER TOWLINE_TOKEN XDG_STATE_HOME TOWLINE_DATA_DIR NO_COLOR

# ---- each input has a folder of its own, and a server if it asks for one

s= A= K=
# Starts a server over ./d, with its output in ./o and its log in ./l.
S() {
  towlined --data-dir d --listen 127.0.0.1:0 "$@" >o 2>l & s=$!
  known
}
# Waits until the server listens: its address in $A, its first token in $K.
known() {
  local tries=0
  until grep -q '^listening on' o 2>/dev/null; do
    kill -0 "$s" 2>/dev/null && [ $((tries += 1)) -lt 300 ] || { cat o l; wrong "the server did not start"; }
    sleep 0.1
  done
  # The server writes the first user's token after that.
  tries=0; until ls d/*.token >/dev/null 2>&1 || [ $((tries += 1)) -gt 100 ]; do sleep 0.1; done
  A=$(sed -n 's/^listening on //p' o | head -1); K=$(ls "$D"/d/*.token | head -1)
}
put() { timeout 60 towline put "$@" --to "$A" --token-file "$K"; }
# Sends a file until a part of it is durable, and interrupts the client.
half() { interrupted towline put "$@" --to "$A" --token-file "$K"; }
# The same for a whole command.
interrupted() {
  "$@" --parallel 1 --chunk-size 4KiB --json >half.out 2>half.err & local p=$! tries=0
  until grep -q '"durable":[1-9]' half.out; do
    kill -0 $p 2>/dev/null && [ $((tries += 1)) -lt 600 ] || { cat half.out half.err; wrong "nothing to interrupt"; }
    sleep 0.05
  done
  kill -INT $p; wait $p; local code=$?
  [ $code = 3 ] || { cat half.out half.err; wrong "interrupted, it ended with $code"; }
}
sent() { grep -o '"sent_bytes":[0-9]*' "$1" | tail -1 | cut -d: -f2; }

wrong() { echo "WRONG: $*"; exit 1; }
skip() { echo "SKIPPED: $*"; exit 77; }
need() { command -v "$1" >/dev/null || skip "needs $1"; }
root() { [ "$(id -u)" = 0 ] || skip "needs root"; }
there() { cmp -s "$1" "d/uploads/1/$2" || { find d/uploads/1; wrong "$2 is not there, or has other bytes"; }; }
has() { grep -qiE "$2" "$1" || { cat "$1"; wrong "$1 does not say: $2"; }; }
hasnt() { ! grep -qiE "$2" "$1" || { cat "$1"; wrong "$1 says: $2"; }; }

# ---- the inputs

# Equal content: every path that was sent exists; "already" means the same content in the same place.
equal() {
  S; mkdir -p t/a t/b; head -c 3M /dev/urandom >t/a/p; cp t/a/p t/b/p
  put t >out 2>&1 || { cat out; wrong "put failed"; }
  there t/a/p t/a/p; there t/b/p t/b/p
  put t/a/p --folder other --quiet || wrong "put into another folder failed"
  there t/a/p other/p
  echo small >t/a/s; cp t/a/s t/b/s2; put t --quiet || wrong "put of the edited copy failed"
  there t/a/s t/a/s; there t/b/s2 t/b/s2
}
# A file that has grown: bytes that have not changed are not sent again.
grown() {
  S; truncate -s 256M f; half f; echo more >>f; put f --json >out 2>err || { cat out err; wrong "put failed"; }
  there f f
  local durable; durable=$(grep -o '"durable":[0-9]*' half.out | tail -1 | cut -d: -f2)
  [ "$(sent out)" -le $((256 * 1048576 + 5 - durable + 2097152)) ] || wrong "$(sent out) bytes were sent, $durable were durable"
}
# A file whose size means nothing: the document has the bytes that `cat` prints, or the file is refused.
fiction() {
  S
  for f in /proc/version /proc/filesystems /sys/kernel/mm/transparent_hugepage/enabled; do
    [ -r $f ] || continue
    if put $f >out 2>&1; then cat $f >same; there same "$(basename $f)"
    else has out "$(basename $f)"; fi
  done
}
# A state file that is a link: the file that it leads to is replaced, the link stays.
linked_state() {
  S; mkdir sh; echo '{"version":1,"uploads":{}}' >sh/s.json; ln -s sh/s.json s.json; truncate -s 256M f
  half f --state-file s.json
  [ -L s.json ] || wrong "the link is gone"
  has sh/s.json '"filename"'
}
# A folder that the system refuses each time: this file fails with the reason, the others continue.
refused_place() {
  root; need setpriv; chmod 755 "$D"; mkdir d; chown 65534 d
  : >o; setpriv --reuid 65534 --clear-groups towlined --data-dir "$D/d" --listen 127.0.0.1:0 >o 2>l & s=$!
  known; mkdir -p t/a t/b; echo 1 >t/a/0; put t >out 2>&1 || { cat out; wrong "the first put failed"; }
  chown 0 d/uploads/1/t/a; chmod 755 d/uploads/1/t/a
  for x in a b; do head -c 2M /dev/urandom >t/$x/L; done
  timeout 30 towline put t --to "$A" --token-file "$K" >out 2>&1; local code=$?
  [ $code = 1 ] || { cat out; wrong "exit $code, not 1"; }
  there t/b/L t/b/L; has out 't/a/L'; has l 'WARN.*(13|denied)'; has l 't/a'
}
# An IPv6 address may have a zone.
zone() {
  echo x >tok; timeout 20 towline put /etc/hostname --retries 0 --to '[fe80::1%lo]:8695' --token-file tok >out 2>&1
  local code=$?; [ $code != 2 ] && [ $code != 124 ] || { cat out; wrong "exit $code"; }
  hasnt out 'is not HOST'
}
# A file that was moved: where its blocks agree, the upload continues.
moved() {
  S; truncate -s 256M f; half f; mkdir m; mv f m/; put m/f --json >out 2>err || { cat out err; wrong "put failed"; }
  local durable; durable=$(grep -o '"durable":[0-9]*' half.out | tail -1 | cut -d: -f2)
  there m/f f
  [ "$(sent out)" -le $((256 * 1048576 - durable + 1048576)) ] || wrong "$(sent out) bytes were sent, $durable were durable"
  towline uploads >out 2>&1; has out 'no unfinished'
  [ "$(ls d/uploads/.staging/*.tmp 2>/dev/null | wc -l)" = 0 ] || wrong "a staging file is left"
}
# A limit on the size of files ends the upload, and not the server.
file_limit() {
  (ulimit -f 4096; exec towlined --data-dir d --listen 127.0.0.1:0 >o 2>l) & s=$!
  known; head -c 9M /dev/urandom >f; echo ok >g
  put f --retries 2 >out 2>&1 && wrong "9 MB passed through a limit of 4 MB"
  kill -0 $s 2>/dev/null || { cat l; wrong "the server ended"; }
  put g --quiet || wrong "a small file failed behind it"
  there g g; kill $s; wait $s; local code=$?; s=; [ $code = 0 ] || wrong "the server ended with $code"
}
# Where the list cannot be written, the client says so once, at the beginning, and never advises `resume`.
no_home() {
  root; need setpriv; S; chmod 755 "$D" d; cp "$K" tok; chmod 644 tok; truncate -s 256M f; chmod 644 f
  chmod 777 .
  interrupted env HOME=/nonexistent setpriv --reuid 65534 --clear-groups towline put f --to "$A" --token-file tok
  cp half.err out; hasnt half.out 'towline resume'
  hasnt out 'towline resume'; has out 'unfinished uploads|save'
  [ "$(grep -ciE 'unfinished uploads|cannot save|state-file' out)" -le 2 ] || { cat out; wrong "it is said more than once"; }
}
# Root adds a user to a data folder of the service: the service still starts.
roots_user() {
  root; need setpriv; chmod 755 "$D"; mkdir d; chown 65534 d
  : >o; setpriv --reuid 65534 --clear-groups towlined --data-dir "$D/d" --listen 127.0.0.1:0 >o 2>l & s=$!
  known; kill $s; wait $s
  towlined user add bob --data-dir d >out 2>&1; towlined token --user bob --data-dir d >t 2>err || { cat out err; wrong "no token"; }
  [ "$(find d -user 0 | wc -l)" = 0 ] || { find d -user 0 -ls; wrong "files of root's are left"; }
  : >o; setpriv --reuid 65534 --clear-groups towlined --data-dir "$D/d" --listen 127.0.0.1:0 >o 2>l & s=$!
  known
}
# The server waits for a catalog that a backup has locked.
locked_catalog() {
  need python3; S; kill $s; wait $s
  python3 -c '
import sqlite3, time
c = sqlite3.connect("d/state/catalog.db", isolation_level=None)
c.execute("BEGIN EXCLUSIVE"); print("locked", flush=True); time.sleep(8)' >locked & local p=$!
  until [ -s locked ]; do sleep 0.1; done
  : >o; towlined --data-dir d --listen 127.0.0.1:0 >o 2>l & s=$!
  known; wait $p; [ -z "$(tr -d '[:space:]' <l)" ] && wrong "the server waited without a word"
  echo x >x; put x --quiet || wrong "put failed"
}
# A token file in the form in which editors save it.
token_file() {
  S; printf '\xef\xbb\xbf%s\r\n' "$(cat "$K")" >t; echo x >x
  timeout 20 towline put x --to "$A" --token-file t >out 2>&1 || { cat out; wrong "BOM and CRLF are refused"; }
  there x x
  printf '"%s"\n' "$(cat "$K")" >t
  timeout 20 towline put x --to "$A" --token-file t >out 2>&1 || has out 'quot'
}
# A disk without free inodes is not reported as a lack of bytes.
no_inodes() {
  root; need mkfs.ext4; truncate -s 512M i; mkfs.ext4 -q -F -N 64 i; mkdir d; mount -o loop i d || skip "needs loop mounts"
  mounted=d; S; echo x >x
  for n in $(seq 80); do touch "d/uploads/fill$n" 2>/dev/null || break; done
  put x --retries 0 >out 2>&1 && wrong "there was an inode after all"
  has out 'inode|no room for more files|number of files'; hasnt out '1 bytes? (are|is) missing'
}
# A token expires while its file has a new one: the client reads the file again.
token_renewed() {
  S; towlined token --user 1 --ttl 3s --data-dir d >tok 2>/dev/null; truncate -s 64M f
  towline put f --parallel 1 --chunk-size 4KiB --to "$A" --token-file tok --json >out 2>err & local p=$!
  sleep 1; kill -STOP $p; cp "$K" tok; sleep 3; kill -9 $s; wait $s 2>/dev/null
  : >o; towlined --data-dir d --listen "$A" >o 2>l & s=$!
  known; kill -CONT $p; wait $p; local code=$?
  [ $code = 0 ] || { cat out err; wrong "exit $code"; }
  there f f
}
# A local clock that was wrong takes no upload off the list.
clock() {
  S; truncate -s 256M f; half f; local state=home/.local/state/towline/uploads_state.json
  sed -i -E 's/"(start_time|last_chunk_time)": [0-9]+/"\1": 5/' $state; has $state '"last_chunk_time": 5'
  timeout 60 towline resume --all >out 2>&1 || { cat out; wrong "resume --all failed"; }
  there f f
}
# Many bad tokens in a short time make only a limited number of log lines.
bad_tokens() {
  need python3; S; echo x >x; put x --quiet || wrong "put failed"; local before; before=$(wc -l <l)
  python3 - "$A" <<'P'
import socket, struct, sys, json
host, port = sys.argv[1].rsplit(":", 1)
body = b"\1" + json.dumps({"action": "hello", "version": 1, "token": "bad"}).encode()
for _ in range(2000):
    with socket.create_connection((host, int(port))) as c:
        c.sendall(struct.pack(">I", len(body)) + body); c.recv(4096)
P
  [ $(($(wc -l <l) - before)) -le 100 ] || wrong "$(($(wc -l <l) - before)) lines"
}
# A run whose output cannot be written is no success.
dev_full() {
  S; echo x >x; put x --json >/dev/full 2>err; local code=$?; [ $code != 0 ] || wrong "exit 0"
}
# A disk that fails to read the file: the upload pauses, and the message says what is kept.
unreadable() {
  root; need mkfs.ext4; truncate -s 64M i; mkfs.ext4 -q -F i; mkdir m; mount -o loop i m || skip "needs loop mounts"
  mounted=m; head -c 40M /dev/urandom >m/f; umount m; mount -o loop i m; S; truncate -s 20M i
  put m/f --retries 3 >out 2>&1; local code=$?
  [ $code = 3 ] || { cat out; wrong "exit $code"; }
  has out 'f.*(read|input/output)'
}
# Standard input is refused with a message.
standard_input() {
  S; echo x >x; tar c x | put - >out 2>&1 && wrong "exit 0"
  has out 'standard input|pipe'
}
# A link inside a folder stays a link, and --quiet has nothing to say about it.
quiet_link() {
  S; mkdir t; echo x >t/x; ln -s x t/link; put t --quiet >out 2>&1 || wrong "exit $?"; there t/x t/x
  [ ! -s out ] || wrong "it says $(cat out)"
  towline get t -o back --to "$A" --token-file "$K" >out 2>&1; [ "$(readlink back/link)" = x ] || { cat out; wrong "no link"; }
}
# Hidden files are part of a folder; files that no server takes can be left out, and are counted.
hidden() {
  S; mkdir -p site/.git/objects; echo x >site/.htaccess; echo y >site/.env; echo z >site/.git/objects/..a
  put site --quiet || wrong "dotfiles are refused"
  there site/.htaccess site/.htaccess; there site/.env site/.env; there site/.git/objects/..a site/.git/objects/..a
  echo w >site/con; put site >out 2>&1; [ $? = 1 ] || { cat out; wrong "a refused name is exit 1"; }
  put site --skip-refused >out 2>&1 || { cat out; wrong "--skip-refused"; }; has out '1 '
}
# SIGHUP and SIGUSR1 end nothing.
signals() {
  S; kill -HUP $s; kill -USR1 $s; sleep 0.5; echo x >x; put x --quiet || { cat l; wrong "the server is gone"; }
  there x x
}
# A temporary state file that a kill has left is removed.
swept() {
  need strace; S; echo x >x; local folder=home/.local/state/towline
  strace -f -o trace -e trace=rename,renameat,renameat2 -e inject=rename,renameat,renameat2:signal=KILL:when=1 towline put x --to "$A" --token-file "$K" >out 2>&1
  # The file is large enough that the state file is written for it.
  truncate -s 64M y; put y --quiet || wrong "put failed"
  [ -z "$(find $folder -name '*.tmp')" ] || { ls -la $folder; wrong "a temporary file is left"; }
}
# Another program has locked the state file: the client says that it waits, and Ctrl-C ends the wait.
locked_state() {
  need flock; S; echo x >x; local folder=home/.local/state/towline; mkdir -p $folder
  flock $folder/uploads_state.json.lock sleep 20 & local f=$!
  sleep 0.5; truncate -s 256M big
  towline put big --parallel 1 --chunk-size 4KiB --to "$A" --token-file "$K" >out 2>&1 & local p=$!
  sleep 5; has out 'uploads_state|another'; kill -INT $p
  local tries=0
  while kill -0 $p 2>/dev/null; do [ $((tries += 1)) -lt 50 ] || { kill $f; kill -9 $p; cat out; wrong "Ctrl-C does not end the wait"; }; sleep 0.1; done
  kill $f
}
# The output has colours only on a terminal; only the server makes a store.
plain_log() {
  S; echo x >x; put x --quiet; kill $s; wait $s; hasnt l $'\x1b'; s=
  mkdir x.d; (cd x.d && towlined user list >../out 2>&1) && { cat out; wrong "user list in the wrong folder ends with 0"; }
  [ ! -e x.d/storage ] || wrong "user list made a store"
}
# A server that is started over the empty mount point of its disk changes nothing.
missing_disk() {
  S; echo x >x; put x --quiet; kill $s; wait $s; mv d/uploads away; mkdir d/uploads
  timeout 10 towlined --data-dir d --listen 127.0.0.1:0 >o2 2>l2; local code=$?
  [ $code != 0 ] && [ $code != 124 ] || { cat o2 l2; wrong "it started (exit $code)"; }
  rmdir d/uploads; mv away d/uploads; S; put x --quiet; [ "$(ls d/uploads/1)" = x ] || { ls d/uploads/1; wrong "x is there twice"; }
}
# Two names that look alike are the same name.
twins() {
  S; mkdir t u; echo 1 >t/ΟΔΟΣ.PDF; echo 2 >u/οδος.pdf; put t/ΟΔΟΣ.PDF --quiet; put u/οδος.pdf --quiet
  there t/ΟΔΟΣ.PDF ΟΔΟΣ.PDF; there u/οδος.pdf 'οδος (1).pdf'
}

inputs=(equal grown fiction linked_state refused_place zone moved file_limit no_home roots_user locked_catalog token_file no_inodes token_renewed clock bad_tokens dev_full unreadable standard_input quiet_link hidden signals swept locked_state plain_log missing_disk twins)
[ "${1:-}" = --list ] && { printf '%s\n' "${inputs[@]}"; exit 0; }
[ -x "$bin/towlined" ] && [ -x "$bin/towline" ] || { echo "no towline and towlined in $bin; cargo build first" >&2; exit 2; }

bad=0 skipped=0
for input in "${@:-${inputs[@]}}"; do
  began=$SECONDS
  said=$(
    D=$(mktemp -d) mounted=; cd "$D" || exit 1; export HOME=$D/home; mkdir home
    end() {
      local code=$?
      # Ends only the jobs that this input started.
      local jobs; jobs=$(jobs -p); [ -z "$jobs" ] || kill $jobs 2>/dev/null; wait 2>/dev/null
      [ -z "$mounted" ] || umount "$D/$mounted"
      cd /; rm -rf "$D"; exit $code
    }
    trap end EXIT
    "$input" 2>&1
  )
  code=$?
  case $code in
    0) echo "right    $input ($((SECONDS - began)) s)" ;;
    77) skipped=1; echo "$said" | tail -1 | sed "s/^/$input: /" ;;
    *) bad=1; echo "WRONG    $input ($((SECONDS - began)) s)"; echo "$said" | tail -15 | sed 's/^/         /' ;;
  esac
done
[ $bad = 0 ] || exit 1
[ $skipped = 0 ] || exit 77
