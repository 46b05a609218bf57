#!/usr/bin/env python3
"""The simplest Towline client: uploads one file and, when cut off, resumes it. See ../SPEC.md.
usage: speaker.py HOST PORT TOKEN_FILE FILE [STATE_FILE]    (TOWLINE_STOP_AFTER=BYTES pauses after so many)
Exit codes: 0 done, 1 refused, 2 usage, 3 paused: run the same again to resume."""
import json, os, select, socket, struct, sys

class Refused(Exception): pass  # the server said no; args[0] is its error

def read_exactly(sock, count):
    data = b""
    while len(data) < count:
        data += (piece := sock.recv(count - len(data)))
        if not piece: raise ConnectionError("the server closed the connection")
    return data

def receive(sock):  # the next control frame
    (length,) = struct.unpack(">I", read_exactly(sock, 4))
    if not 2 < length <= 32769: raise ConnectionError("this server does not speak Towline")
    reply = json.loads(read_exactly(sock, length)[1:])
    if reply["action"] == "error": raise Refused(reply)
    return reply

def ask(sock, *answers, **message):  # a control frame is: length, kind 1, JSON
    body = b"\x01" + json.dumps(message).encode()
    sock.sendall(struct.pack(">I", len(body)) + body)
    while (reply := receive(sock))["action"] not in answers: pass  # progress, for people
    return reply

def send_chunks(sock, file, state, chunk_size, stop_after):
    stop_at = min(state["offset"] + stop_after, state["total_size"])
    file.seek(state["offset"])
    while state["offset"] < stop_at:
        payload = file.read(min(chunk_size, stop_at - state["offset"]))
        sock.sendall(struct.pack(">IBIQ", 13 + len(payload), 2, 0, state["offset"]) + payload)
        state["offset"] += len(payload)
        while select.select([sock], [], [], 0)[0]: receive(sock)  # progress, or an error, which is raised
    if stop_at < state["total_size"]: raise KeyboardInterrupt("as asked")

def transfer(sock, file, state, save, token, stop_after):
    welcome = ask(sock, "welcome", action="hello", version=1, token=token)
    while True:
        try:
            if "document_id" in state:
                known = {key: state[key] for key in ("document_id", "offset", "filename")}
                granted = ask(sock, "resume", "SUCCESS", action="resume", **known)
            else:
                granted = ask(sock, "upload", action="upload", filename=state["filename"], filesize=state["total_size"])
            if granted["action"] == "SUCCESS": return granted  # it was complete; only the receipt was lost
            state.update(document_id=granted["document_id"], offset=granted["offset"])
            save()
            send_chunks(sock, file, state, welcome["chunk_size"], stop_after)
            return ask(sock, "SUCCESS", action="complete")
        except Refused as no:
            if no.args[0]["code"] == "offset_mismatch":
                state["offset"] = no.args[0]["expected"]  # 409: the server decides where we stand
            elif no.args[0]["number"] in (404, 410) and state.pop("document_id", None):
                state["offset"] = 0  # the upload is gone: begin again
            else: raise

def main(host, port, token_file, path, state_file="speaker_state.json"):
    about = os.stat(path)
    this = {"filename": os.path.basename(path), "total_size": about.st_size, "mtime_ns": about.st_mtime_ns}
    old = json.load(open(state_file)) if os.path.exists(state_file) else {}
    state = old if this.items() <= old.items() else {**this, "offset": 0}  # the very file we began with?
    def save():  # replaced as a whole: a kill leaves the old or the new
        with open(state_file + ".new", "w") as new: json.dump(state, new)
        os.replace(state_file + ".new", state_file)
    try:
        with open(path, "rb") as file, socket.create_connection((host, int(port)), timeout=300) as sock:
            try:
                stop_after = int(os.environ.get("TOWLINE_STOP_AFTER", 1 << 62))
                success = transfer(sock, file, state, save, open(token_file).read().strip(), stop_after)
            except KeyboardInterrupt:
                sock.shutdown(socket.SHUT_WR)  # pause in good order: the server keeps all that was sent
                while sock.recv(65536): pass
                raise
    except Refused as no:
        print("refused:", ascii(no.args[0]["code"]), ascii(no.args[0]["message"]), file=sys.stderr)
        return 3 if no.args[0]["retry"] else 1
    except (KeyboardInterrupt, OSError) as cut:
        if "document_id" in state: save()
        print(f"paused at byte {state['offset']}: {cut}", file=sys.stderr)
        return 3
    if os.path.exists(state_file): os.remove(state_file)
    print(f"SUCCESS document_id={int(success['document_id'])}")
    return 0

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) in (5, 6) else print(__doc__, file=sys.stderr) or 2)
