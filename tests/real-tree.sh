#!/usr/bin/env bash
# A real tree of files: the site-packages of the system's Python where there is one, else a
# made-up tree of 700 files. It has equal files, dotfiles, and a git checkout.
# The script runs a put, a put of an edited copy, a put into another folder, and a put that is
# interrupted on both sides and resumed. Then every path must be there, with its own bytes.
#
#   bash tests/real-tree.sh [FOLDER]
#
# It runs the programs of $TOWLINE_BIN (target/release, else target/debug).
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
bin=${TOWLINE_BIN:-}
[ -n "$bin" ] || for bin in "$root/target/release" "$root/target/debug"; do [ -x "$bin/towlined" ] && break; done
[ -x "$bin/towlined" ] && [ -x "$bin/towline" ] || { echo "no towline and towlined in $bin; cargo build first" >&2; exit 2; }
export PATH="$bin:$PATH"
unset TOWLINE_SERVER TOWLINE_TOKEN XDG_STATE_HOME TOWLINE_DATA_DIR

D=$(mktemp -d); cd "$D" || exit 2; export HOME=$D/home; mkdir home; s=
end() { local code=$?; [ -z "$s" ] || kill "$s" 2>/dev/null; wait 2>/dev/null; cd /; rm -rf "$D"; exit $code; }
trap end EXIT
wrong() { echo "WRONG: $*"; exit 1; }

# ---- the tree

mkdir tree
source=${1:-$(python3 -c 'import site; print(site.getsitepackages()[0])' 2>/dev/null)}
if [ -n "$source" ] && [ "$(find "$source" -type f 2>/dev/null | wc -l)" -ge 600 ]; then
  # 1,500 files are enough to have equal files and unusual names among them.
  (cd "$source" && find . -type f -print0 | sort -z | head -z -n 1500 | tar -c --null -T - ) | tar -x -C tree
else
  for n in $(seq 700); do
    mkdir -p "tree/p$((n % 23))/q$((n % 5))"
    seq $((n % 90)) >"tree/p$((n % 23))/q$((n % 5))/f$n.py"
  done
fi
for n in 1 2 3; do mkdir -p "tree/copies/$n"; echo same >"tree/copies/$n/same.txt"; head -c 2M /dev/zero >"tree/copies/$n/same.bin"; : >"tree/copies/$n/__init__.py"; done
mkdir tree/checkout; echo 'KEY=1' >tree/checkout/.env; echo '*.o' >tree/checkout/.gitignore; echo code >tree/checkout/main.c
if command -v git >/dev/null; then
  (cd tree/checkout && git init -q . && git add -A && git -c user.name=a -c user.email=a@b commit -q -m first)
fi
# A file that takes long enough to be interrupted.
head -c 64M /dev/urandom >tree/large.bin

# ---- comparing

sums() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum); }
same() {
  sums "$1" >want; sums "d/uploads/1/$2" >got
  cmp -s want got || { diff want got | head -20; wrong "$2 is not as $1: $3"; }
  echo "right    $3: $(wc -l <want) files"
}
start() {
  towlined --data-dir d --listen "$1" >o 2>l & s=$!
  local tries=0
  until grep -q '^listening on' o 2>/dev/null; do kill -0 $s 2>/dev/null && [ $((tries += 1)) -lt 200 ] || { cat o l; wrong "no server"; }; sleep 0.1; done
  until ls d/*.token >/dev/null 2>&1 || [ $((tries += 1)) -gt 300 ]; do sleep 0.1; done
  A=$(sed -n 's/^listening on //p' o); K=$(ls "$D"/d/*.token)
}
put() { timeout 300 towline put "$@" --to "$A" --token-file "$K" >out 2>&1; }

start 127.0.0.1:0
put tree || { tail -20 out; wrong "put ended with $?"; }
same tree tree "put"
put tree || wrong "the second put"
same tree tree "put again"
[ "$(ls d/uploads/1)" = tree ] || { ls d/uploads/1; wrong "put again made something new"; }

cp -r tree tree-v2; echo edited >>tree-v2/checkout/main.c; echo new >tree-v2/checkout/new.c
put tree-v2 || { tail -20 out; wrong "put of the copy ended with $?"; }
same tree-v2 tree-v2 "put of an edited copy"

put tree --folder backup-2026 || { tail -20 out; wrong "put --folder ended with $?"; }
same tree backup-2026/tree "put into another folder"

# The client is interrupted once, then the server, while the client continues.
cp -r tree cut; head -c 64M /dev/urandom >cut/large.bin
towline put cut --to "$A" --token-file "$K" --json --parallel 1 --chunk-size 4KiB >ev 2>&1 & p=$!
until grep -q '"durable":[1-9]' ev; do kill -0 $p || { tail -5 ev; wrong "nothing to interrupt"; }; sleep 0.02; done
kill -INT $p; wait $p; [ $? = 3 ] || { tail -5 ev; wrong "interrupted, it did not end with 3"; }
towline resume --all --parallel 1 --chunk-size 4KiB >out 2>&1 & p=$!
sleep 0.3; kill -9 $s; wait $s 2>/dev/null; start "$A"
wait $p || { tail -20 out; wrong "resume ended with $?"; }
same cut cut "interrupted, the server killed, resumed"
