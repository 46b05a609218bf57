#!/usr/bin/env python3
"""The simplest Towline reader: lists a folder, or fetches one file. See ../SPEC.md, sections 11 and 12.
usage: reader.py HOST PORT TOKEN_FILE [PATH [TARGET]]    (PATH as in proj/a.txt; the file is written to TARGET)
It compares sizes alone: BLAKE3 is not in the standard library.
Exit codes: 0 done, 1 refused, 2 usage, 3 the connection was lost or the disk failed: run the same again."""
import json, os, socket, struct, sys

class Refused(Exception): pass  # the server said no; args[0] is its error

def read_exactly(sock, count):
    data = bytearray()
    while len(data) < count:
        data += (piece := sock.recv(count - len(data)))
        if not piece: raise ConnectionError("the server closed the connection")
    return data

def receive(sock):  # the next frame: kind and body, which of a control frame is its JSON
    (length,) = struct.unpack(">I", read_exactly(sock, 4))
    if not 2 < length <= 1048589: raise ConnectionError("this server does not speak Towline")
    kind, *_ = frame = read_exactly(sock, length)
    if kind != 1: return kind, frame[1:]
    if (reply := json.loads(frame[1:]))["action"] == "error": raise Refused(reply)
    return kind, reply

def ask(sock, **message):  # a control frame is: length, kind 1, JSON
    body = b"\x01" + json.dumps(message).encode()
    sock.sendall(struct.pack(">I", len(body)) + body)

def answer(sock, action):  # the next control frame of that action; progress is for people
    while (frame := receive(sock))[0] != 1 or frame[1]["action"] != action:
        if frame[0] == 2: raise ConnectionError("the server sends bytes that were not announced")
    return frame[1]

def listing(sock, path):  # the frames of a whole listing, page by page
    request = {"action": "list", "path": path}
    while True:
        ask(sock, **request)
        count, frame = 0, {}
        while not frame.get("end"):
            yield (frame := answer(sock, "list"))
            count += len(frame["entries"])
        if "next" not in frame: return
        if not count or frame["next"] == request.get("after"): raise ConnectionError("the listing never ends")
        request["after"] = frame["next"]

def fetch(sock, path, target):
    if os.path.lexists(target): raise Refused({"code": "exists", "message": target})
    which, done, size = {"path": path}, 0, None
    with open(target + ".part", "wb") as file:
        while size is None or done < size:
            ask(sock, action="read", offset=done, **which)
            begins = answer(sock, "read")
            size, end, which = begins["filesize"], done + begins["length"], {"document_id": begins["document_id"]}
            if not min(done + 1, size) <= end <= size: raise ConnectionError("a piece of another length than the file's")
            while done < end:
                kind, chunk = receive(sock)
                if kind == 1: continue
                _, offset = struct.unpack(">IQ", chunk[:12])
                if (kind, offset) != (2, done) or offset + len(chunk) - 12 > end: raise ConnectionError("not the next bytes")
                done += file.write(chunk[12:])
            answer(sock, "read")  # the end
        file.flush()
        os.fsync(file.fileno())
    os.link(target + ".part", target)  # unlike a rename it replaces nothing that has the name
    os.remove(target + ".part")
    print(f"{size} bytes")

def main(host, port, token_file, path="", target=None):
    names = [name for name in path.split("/") if name]
    try:
        with socket.create_connection((host, int(port)), timeout=300) as sock:
            ask(sock, action="hello", version=1, token=open(token_file).read().strip())
            if not {"tree", "read"} <= set(answer(sock, "welcome")["features"]):
                raise Refused({"code": "unknown_action", "message": "this server cannot list and read"})
            for frame in listing(sock, names):
                if frame.get("node", {}).get("kind") == "file":
                    return fetch(sock, names, target or names[-1])  # a name that the user typed, not one of the server's
                for entry in frame["entries"]:  # a name may hold anything: ascii() shows control characters as text
                    print(entry["kind"], entry.get("size", "-"), ascii(entry["name"]))
    except Refused as no:
        print("refused:", ascii(no.args[0]["code"]), ascii(no.args[0]["message"]), file=sys.stderr)
        return 1
    except (OSError, LookupError, TypeError, ValueError) as broken:
        print("failed:", ascii(str(broken)), file=sys.stderr)
        return 3

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if 4 <= len(sys.argv) <= 6 else print(__doc__, file=sys.stderr) or 2)
