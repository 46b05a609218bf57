//! The part of the language that asks about the tree, the changes and the bytes of documents.

use super::super::super::input::Input;
use super::super::content::CONTENT;
use super::super::questions::{FIRST, OWN, READ_WITH_BLOCKS, TRASH};
use super::{Believed, Program, filename, filesize, hash, position, to_usize};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// The channel on which a session watches.
const WATCH: u32 = 130;

impl Program {
    /// One request. The first byte chooses it; its upper half says how it is spoilt, and whether it
    /// has a channel of its own.
    pub(super) async fn tree(&mut self, channel: u32, input: &mut Input<'_>) {
        let byte = input.byte();
        let action = match byte & 15 {
            0 | 1 => return self.small_file(channel, input).await,
            2 => return self.upload_to_tree(channel, input).await,
            3 => return self.complete_in_tree(channel, input).await,
            4 => return self.control(WATCH + channel, "watch", json!({})).await,
            5 => "list",
            6 => "stat",
            7 => "mkdir",
            8 => "link",
            9 => "move",
            10 => "remove",
            11 => "restore",
            12 => "versions",
            13 => "delta",
            _ => "read",
        };
        let mut fields = match action {
            "list" => self.list(input),
            "stat" => self.target(input),
            "mkdir" => self.mkdir(input),
            "link" => self.link(input),
            "move" => self.moving(input),
            "remove" => self.remove(input),
            "restore" => self.restore(input),
            "versions" => self.versions(input),
            "delta" => self.delta(input),
            _ => self.read(input),
        };
        if byte & 0xc0 == 0xc0 {
            spoil(&mut fields, input);
        }
        let own = byte & 0x20 != 0;
        let on = self.channel_of(action, &fields, own, channel);
        self.ask(on, action, fields).await;
    }

    /// What comes on a channel has one order and one kind of frames, see `questions.rs`.
    fn channel_of(&mut self, action: &str, fields: &Value, own: bool, channel: u32) -> u32 {
        if action == "list" && fields.get("trash").is_some() {
            return TRASH.0;
        }
        if action == "read" && fields.get("blocks") == Some(&true.into()) {
            return READ_WITH_BLOCKS.0;
        }
        if own {
            self.asked += 1;
            return OWN.0 + self.asked;
        }
        FIRST.0 + channel
    }

    async fn ask(&mut self, channel: u32, action: &'static str, fields: Value) {
        if !matches!(action, "list" | "stat" | "versions" | "delta" | "read") {
            self.shared.changes_tree.store(true, Ordering::SeqCst);
        }
        self.asks(channel, action).await;
        self.control(channel, action, fields).await;
    }

    fn list(&self, input: &mut Input<'_>) -> Value {
        let flags = input.byte();
        let mut fields = match flags & 3 {
            0 => json!({ "path": [] }),
            1 => json!({ "trash": true }),
            _ => self.target(input),
        };
        if flags & 4 != 0 {
            fields["recursive"] = true.into();
        }
        if flags & 8 != 0 {
            fields["limit"] = number(input).into();
        }
        if flags & 16 != 0 {
            fields["after"] = self.text(input).into();
        }
        if flags & 32 != 0 {
            fields["kinds"] = json!(["folder"]);
        }
        if flags & 64 != 0 {
            fields["name"] = json!("?*");
        }
        fields
    }

    fn mkdir(&self, input: &mut Input<'_>) -> Value {
        let mut fields = json!({ "path": path(input) });
        if input.byte() & 1 != 0 {
            fields["mode"] = number(input).into();
        }
        fields
    }

    fn link(&self, input: &mut Input<'_>) -> Value {
        let flags = input.byte();
        let target = ["a", "../b", "/etc/passwd", "é"][usize::from(flags & 3)];
        let mut fields = json!({ "path": path(input), "target": target });
        if flags & 4 != 0 {
            fields["on_conflict"] = on_conflict(input.byte()).into();
        }
        if flags & 8 != 0 {
            fields["mtime_ms"] = (i64::from(input.byte()) - 100).into();
        }
        fields
    }

    fn moving(&self, input: &mut Input<'_>) -> Value {
        let mut fields = self.target(input);
        fields["to"] = path(input);
        if input.byte() & 7 == 7 {
            fields["place_rev"] = number(input).into();
        }
        fields
    }

    fn remove(&self, input: &mut Input<'_>) -> Value {
        let flags = input.byte();
        let mut fields = self.target(input);
        if flags & 1 != 0 {
            fields["recursive"] = true.into();
        }
        if flags & 6 == 6 {
            fields["version"] = self.document(input.byte()).into();
        }
        if flags & 24 == 24 {
            fields["place_rev"] = number(input).into();
        }
        if flags & 96 == 96 {
            fields["seen"] = number(input).into();
        }
        fields
    }

    fn restore(&self, input: &mut Input<'_>) -> Value {
        let mut fields = self.target(input);
        let byte = input.byte();
        if byte & 1 != 0 {
            fields["version"] = self.document(byte >> 1).into();
        }
        fields
    }

    fn versions(&self, input: &mut Input<'_>) -> Value {
        let flags = input.byte();
        let mut fields = self.target(input);
        if flags & 1 != 0 {
            fields["limit"] = number(input).into();
        }
        if flags & 2 != 0 {
            fields["after"] = self.text(input).into();
        }
        fields
    }

    fn delta(&self, input: &mut Input<'_>) -> Value {
        let flags = input.byte();
        let mut fields = match flags & 3 {
            0 => json!({}),
            1 => json!({ "since": "latest" }),
            _ => json!({ "since": self.text(input) }),
        };
        if flags & 4 != 0 {
            fields["limit"] = number(input).into();
        }
        if flags & 8 != 0 {
            fields["wait_ms"] = [1, 20, 55_000, 55_001][usize::from(flags >> 6)].into();
        }
        fields
    }

    fn read(&self, input: &mut Input<'_>) -> Value {
        let flags = input.byte();
        let mut fields = match flags & 3 {
            0 => json!({ "document_id": self.document(input.byte()) }),
            _ => self.target(input),
        };
        if flags & 4 != 0 {
            fields["blocks"] = true.into();
        }
        if flags & 8 != 0 {
            fields["offset"] = position(input).into();
        }
        if flags & 16 != 0 {
            fields["length"] = position(input).into();
        }
        fields
    }

    /// A path or the number of a node; sometimes both, or neither.
    fn target(&self, input: &mut Input<'_>) -> Value {
        let byte = input.byte();
        match byte % 16 {
            0..=8 => json!({ "path": path(input) }),
            9..=13 => json!({ "node_id": self.node(byte / 16) }),
            14 => json!({ "path": path(input), "node_id": self.node(byte / 16) }),
            _ => json!({}),
        }
    }

    /// The number of a node: by its order in this session, of another user, or of no node.
    fn node(&self, reference: u8) -> u64 {
        match reference % 16 {
            14 => self.nodes_before.max(1),
            15 => u64::MAX >> 1,
            number => self.nodes_before + 1 + u64::from(number),
        }
    }

    /// A text to go on from: one of the server's, one that was spoilt, or none of its own.
    fn text(&self, input: &mut Input<'_>) -> String {
        let byte = input.byte();
        let text = self.shared.shown.text(byte).unwrap_or_default();
        match byte >> 4 {
            0..=11 => text,
            12 => format!("{text}a"),
            13 => text.get(..text.len() / 2).unwrap_or_default().to_owned(),
            14 => ["c1.1.1.1", "s1.1.1.1.1", "l1.a/b", "1", "l1.", "latest"]
                [usize::from(byte & 15) % 6]
                .to_owned(),
            _ => "9".repeat(usize::from(byte & 15) * 700),
        }
    }

    /// A small file, wholly sent: the name may be taken, and may lie below something.
    async fn small_file(&mut self, channel: u32, input: &mut Input<'_>) {
        let (flags, size) = (input.byte(), u64::from(input.byte()) * 3);
        let Value::Array(mut folder) = path(input) else { return };
        let name = folder.pop().unwrap_or_else(|| "a".into());
        let mut fields = json!({ "filename": name, "filesize": size });
        if !folder.is_empty() {
            fields["folder"] = folder.into();
        }
        fields["on_conflict"] = on_conflict(flags).into();
        if flags & 4 != 0 {
            fields["mode"] = u64::from(flags).into();
        }
        if flags & 8 != 0 {
            fields["blake3"] = hash(size, false).into();
        }
        self.shared.changes_tree.store(true, Ordering::SeqCst);
        self.uploads.insert(channel, Believed { filesize: size, at: 0 });
        self.control(channel, "upload", fields).await;
        if size > 0 {
            self.put_chunk(channel, 0, size, false).await;
        }
        self.control(channel, "complete", json!({})).await;
    }

    /// An upload with the fields that came with the tree.
    async fn upload_to_tree(&mut self, channel: u32, input: &mut Input<'_>) {
        let flags = input.byte();
        let mut fields = json!({ "filename": filename(flags >> 5) });
        let mut believed = Believed { filesize: CONTENT.len() as u64, at: 0 };
        if flags & 1 != 0 {
            believed.filesize = filesize(input);
            fields["filesize"] = believed.filesize.into();
        }
        if flags & 2 != 0 {
            fields["node_id"] = self.node(input.byte()).into();
        }
        if flags & 4 != 0 {
            fields["parent_id"] = self.node(input.byte()).into();
        }
        if flags & 8 != 0 {
            fields["base_version"] = self.document(input.byte()).into();
        }
        if flags & 16 != 0 {
            fields["on_conflict"] = on_conflict(input.byte()).into();
            fields["mtime_ms"] = (i64::from(input.byte()) - 100).into();
        }
        self.shared.changes_tree.store(true, Ordering::SeqCst);
        self.uploads.insert(channel, believed);
        self.control(channel, "upload", fields).await;
    }

    /// The end of an upload whose length was not said, or whose name may have been taken.
    async fn complete_in_tree(&mut self, channel: u32, input: &mut Input<'_>) {
        let flags = input.byte();
        let size = match flags & 3 {
            0 => filesize(input),
            _ => self.believed(channel).at,
        };
        let mut fields = json!({});
        if flags & 4 == 0 {
            fields["filesize"] = size.into();
        }
        if flags & 8 != 0 {
            fields["blake3"] = hash(size, flags & 0x70 == 0x70).into();
        }
        if flags & 16 != 0 {
            fields["on_conflict"] = on_conflict(flags >> 5).into();
        }
        self.shared.changes_tree.store(true, Ordering::SeqCst);
        self.control(channel, "complete", fields).await;
    }
}

fn on_conflict(choice: u8) -> &'static str {
    ["rename", "replace", "skip", "reject"][usize::from(choice % 4)]
}

/// Mostly a legal path of one to three names; sometimes an empty, a deep or a long one.
fn path(input: &mut Input<'_>) -> Value {
    let byte = input.byte();
    match byte {
        0xf0..=0xf7 => json!(vec!["d"; usize::from(byte & 7) + 29]),
        0xf8..=0xfb => json!(vec!["ü".repeat(to_usize(u64::from(byte & 3)) + 126); 8]),
        0xfc..=0xff => json!([]),
        _ => {
            let depth = usize::from(byte % 3) + 1;
            let names = (0..depth).map(|at| name(if at == 0 { byte / 4 } else { input.byte() }));
            names.collect()
        }
    }
}

/// Few names, so that they are taken again and again.
fn name(choice: u8) -> &'static str {
    ["a", "b", "proj", "src", "A", "\u{e9}", "e\u{301}", ".."][usize::from(choice % 8)]
}

/// A number near a limit, or a small one.
fn number(input: &mut Input<'_>) -> u64 {
    let byte = input.byte();
    match byte {
        0..=200 => u64::from(byte % 32),
        201..=210 => 1000,
        211..=220 => 10_000,
        221..=230 => 10_001,
        231..=240 => 511 + u64::from(byte & 1),
        241..=250 => u64::from(u32::MAX) + u64::from(byte & 1),
        _ => u64::MAX >> (byte & 1),
    }
}

/// Gives a field a value that it cannot have, or adds one that no request has.
fn spoil(fields: &mut Value, input: &mut Input<'_>) {
    let byte = input.byte();
    let field = [
        "path",
        "node_id",
        "to",
        "limit",
        "after",
        "since",
        "seen",
        "version",
        "offset",
        "length",
        "mode",
        "target",
        "wait_ms",
        "document_id",
        "colour",
        "blocks",
    ][usize::from(byte & 15)];
    fields[field] = match byte >> 4 {
        0 => Value::Null,
        1 => (-1).into(),
        2 => 0.into(),
        3 => 1.5.into(),
        4 => u64::MAX.into(),
        5 => "x".repeat(5000).into(),
        6 => "\u{1b}[31m\u{0}".into(),
        7 => json!([]),
        8 => json!(["a", 1]),
        9 => json!([["a"]]),
        10 => json!(["a/b"]),
        11 => json!(["\u{202e}"]),
        12 => json!({ "a": 1 }),
        13 => json!(vec!["a"; 3000]),
        14 => true.into(),
        _ => "".into(),
    };
}
