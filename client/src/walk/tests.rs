//! What a walk finds, and in which order.

use super::*;

fn walk(paths: &[PathBuf], options: WalkOptions) -> Vec<Found> {
    Walk::of(paths.to_vec(), options).collect()
}

fn in_folder(folder: &str) -> WalkOptions {
    WalkOptions { folder: vec![Name::new(folder).unwrap()], ..WalkOptions::default() }
}

fn files(found: &[Found]) -> Vec<String> {
    let file = |found: &Found| match found {
        Found::File(document, _) => Some(document.remote.to_string()),
        _ => None,
    };
    found.iter().filter_map(file).collect()
}

fn folders(found: &[Found]) -> Vec<String> {
    let folder = |found: &Found| match found {
        Found::Folder(folder) => Some(folder.document.remote.to_string()),
        _ => None,
    };
    found.iter().filter_map(folder).collect()
}

#[cfg(unix)]
fn links(found: &[Found]) -> Vec<(String, &str)> {
    fn link(found: &Found) -> Option<(String, &str)> {
        match found {
            Found::Link(document, target) => Some((document.remote.to_string(), target.as_str())),
            _ => None,
        }
    }
    found.iter().filter_map(link).collect()
}

fn refused(found: &[Found]) -> Vec<(&Path, &Failure)> {
    fn one(found: &Found) -> Option<(&Path, &Failure)> {
        match found {
            Found::Refused(path, failure) => Some((path, failure)),
            _ => None,
        }
    }
    found.iter().filter_map(one).collect()
}

/// Files with their names as content, and the folders around them.
fn tree(names: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let top = home.path().join("photos");
    std::fs::create_dir(&top).unwrap();
    for name in names {
        let path = top.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, name).unwrap();
    }
    (home, top)
}

#[test]
fn a_folder_brings_everything_below_it_under_its_own_name() {
    let names = ["z.jpg", "b/c/deep.jpg", "b/y.jpg", "a/x.jpg", ".hidden", ".git/config", "a/con"];
    let (_home, top) = tree(&names);
    std::fs::create_dir_all(top.join("b/nothing")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("/etc/passwd", top.join("link")).unwrap();
    let found = walk(std::slice::from_ref(&top), in_folder("2024"));
    let expected = [
        "2024/photos/.git/config",
        "2024/photos/.hidden",
        "2024/photos/a/x.jpg",
        "2024/photos/b/c/deep.jpg",
        "2024/photos/b/y.jpg",
        "2024/photos/z.jpg",
    ];
    assert_eq!(files(&found), expected);
    let sizes = found.iter().filter_map(|found| match found {
        Found::File(_, size) => Some(*size),
        _ => None,
    });
    assert_eq!(sizes.sum::<u64>(), names[..6].iter().map(|name| name.len() as u64).sum::<u64>());
    assert!(
        matches!(refused(&found)[..], [(path, Failure::BadName { .. })] if path == top.join("a/con"))
    );
    let places = ["", "/.git", "/a", "/b", "/b/c", "/b/nothing"];
    let expected_folders = places.map(|place| format!("2024/photos{place}"));
    assert_eq!(folders(&found), expected_folders);
    let is_empty =
        |found: &&Found| matches!(found, Found::Folder(FoundFolder { is_empty: true, .. }));
    assert_eq!(found.iter().filter(is_empty).count(), 1);
    #[cfg(unix)]
    assert_eq!(links(&found), [("2024/photos/link".to_owned(), "/etc/passwd")]);
    assert!(!found.iter().any(|found| matches!(found, Found::Barren(_))));

    // The name is left out, and counted with the rest.
    let options = WalkOptions { skips_refused: true, ..in_folder("2024") };
    let found = walk(std::slice::from_ref(&top), options);
    assert!(refused(&found).is_empty());
    assert_eq!(files(&found), expected);
    assert!(
        found
            .iter()
            .any(|found| matches!(found, Found::Skipped(at, _) if *at == top.join("a/con")))
    );
}

#[cfg(unix)]
#[test]
fn a_link_to_a_folder_brings_its_own_name() {
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("2026-11");
    std::fs::create_dir_all(target.join("sub")).unwrap();
    std::fs::write(target.join("a.jpg"), "a").unwrap();
    let link = home.path().join("photos");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    for (typed, place) in [
        (link.clone(), "photos/a.jpg"),
        (link.join(""), "photos/a.jpg"),
        (link.join("."), "photos/a.jpg"),
        (target.join("sub/.."), "2026-11/a.jpg"),
    ] {
        let found = walk(std::slice::from_ref(&typed), WalkOptions::default());
        assert_eq!(files(&found), [place], "{typed:?}");
        assert!(refused(&found).is_empty(), "{typed:?}");
    }
}

#[test]
fn what_is_not_there_is_refused_and_the_rest_goes_on() {
    let (home, top) = tree(&["a.txt"]);
    for skips_refused in [false, true] {
        let paths = [home.path().join("missing"), "-".into(), top.join("a.txt")];
        let options = WalkOptions { skips_refused, ..WalkOptions::default() };
        let found = walk(&paths, options);
        assert_eq!(files(&found), ["a.txt"]);
        let refused: Vec<_> = refused(&found).into_iter().map(|(_, failure)| failure).collect();
        assert!(matches!(refused[..], [Failure::File { .. }, Failure::StandardInput]));
    }
}

#[test]
fn folders_without_files_are_sent_unless_only_some_files_are_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let (empty, hollow) = (home.path().join("empty"), home.path().join("hollow"));
    std::fs::create_dir_all(&empty).unwrap();
    std::fs::create_dir_all(hollow.join("deep/deeper")).unwrap();
    let barren = |found: &[Found]| -> Vec<PathBuf> {
        let paths = found.iter().filter_map(|found| match found {
            Found::Barren(path) => Some(path.clone()),
            _ => None,
        });
        paths.collect()
    };
    let paths = [empty.clone(), hollow.clone()];
    let found = walk(&paths, WalkOptions::default());
    assert_eq!(folders(&found), ["empty", "hollow", "hollow/deep", "hollow/deep/deeper"]);
    assert!(barren(&found).is_empty());
    let rules = Rules::new(vec![Rule::Include("*.jpg".to_owned())]).unwrap();
    let found = walk(&paths, WalkOptions { rules, ..WalkOptions::default() });
    assert_eq!(barren(&found), paths);
    assert!(folders(&found).is_empty() && files(&found).is_empty() && refused(&found).is_empty());
}

#[cfg(unix)]
#[test]
fn what_a_link_says_is_text_or_the_link_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let (_home, top) = tree(&["a"]);
    let no_text = std::ffi::OsStr::from_bytes(b"\xff");
    for (name, target) in
        [("good", "b/../ü".as_ref()), ("newline", "a\nb".as_ref()), ("raw", no_text)]
    {
        std::os::unix::fs::symlink(target, top.join(name)).unwrap();
    }
    let found = walk(std::slice::from_ref(&top), WalkOptions::default());
    assert_eq!(links(&found), [("photos/good".to_owned(), "b/../ü")]);
    let expected = [(top.join("newline"), "control characters"), (top.join("raw"), "not Unicode")];
    let refused = refused(&found);
    assert_eq!(refused.len(), 2);
    for ((path, failure), (at, reason)) in refused.into_iter().zip(expected) {
        assert!(*path == at && failure.to_string().contains(reason), "{path:?}: {failure}");
        assert!(failure.is_of_name());
    }
    let options = WalkOptions { skips_refused: true, ..WalkOptions::default() };
    let found = walk(std::slice::from_ref(&top), options);
    assert_eq!(found.iter().filter(|found| matches!(found, Found::Skipped(..))).count(), 2);
}

#[cfg(unix)]
#[test]
fn what_is_not_kept_is_counted() {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    let (home, top) = tree(&["a", "b/c", "plain"]);
    std::fs::hard_link(top.join("a"), top.join("b/a")).unwrap();
    std::fs::set_permissions(top.join("plain"), Permissions::from_mode(0o4755)).unwrap();
    std::fs::set_permissions(top.join("b"), Permissions::from_mode(0o2755)).unwrap();
    let not_kept = |mut walk: Walk| {
        let mut sum = NotKept::default();
        while walk.next().is_some() {
            sum += walk.not_kept();
        }
        sum
    };
    std::os::unix::fs::symlink("a", top.join("link")).unwrap();
    // The times of two folders and of a link; with -L the link is a file, of one more name.
    let expected = NotKept { owners: 0, special_bits: 2, hard_links: 2, times: 3 };
    assert_eq!(not_kept(Walk::of(vec![top.clone()], WalkOptions::default())), expected);
    let options = WalkOptions { follows_links: true, ..WalkOptions::default() };
    let expected = NotKept { hard_links: 3, times: 2, ..expected };
    assert_eq!(not_kept(Walk::of(vec![top.clone()], options)), expected);
    // Nothing of it is sent, so nothing of it is lost.
    let rules = Rules::new(vec![Rule::Include("nothing".to_owned())]).unwrap();
    let options = WalkOptions { rules, ..WalkOptions::default() };
    assert!(not_kept(Walk::of(vec![home.path().to_owned()], options)).is_nothing());
}

#[cfg(unix)]
#[test]
fn what_is_neither_a_file_nor_a_folder_is_called_by_its_name() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let found = walk(&[socket.clone(), "/dev/null".into()], WalkOptions::default());
    let told: Vec<_> = refused(&found)
        .into_iter()
        .map(|(_, failure)| match failure {
            Failure::NotAFile { what, .. } => *what,
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(told, ["a socket", "a device"]);
    let found = walk(&[home.path().to_owned()], WalkOptions::default());
    assert!(matches!(&found[1], Found::Skipped(at, what) if *at == socket && what == "a socket"));
}

#[test]
fn rules_and_ignore_files_leave_out_what_they_name() {
    let (_home, top) = tree(&[
        "a.jpg",
        "a.tmp",
        "deep/b.tmp",
        "deep/keep.tmp",
        "deep/log/x.log",
        "target/out",
        "x.log",
    ]);
    let ignore = top.join(IGNORE_FILE);
    std::fs::write(&ignore, "# what is built\n/target/\n*.log\n\n!/x.log\n").unwrap();
    std::fs::write(top.join("deep").join(IGNORE_FILE), "{a\n").unwrap();
    let rules = |rules: &[&str]| {
        let rules = rules.iter().filter_map(|text| Rule::parse(text)).collect();
        WalkOptions { rules: Rules::new(rules).unwrap(), ..WalkOptions::default() }
    };
    let found = walk(std::slice::from_ref(&top), rules(&["+keep.tmp", "-*.tmp", "+*"]));
    let expected = [
        "photos/.towlineignore",
        "photos/a.jpg",
        "photos/deep/.towlineignore",
        "photos/deep/keep.tmp",
        "photos/deep/log/x.log",
        // What is typed decides before the ignore files do.
        "photos/target/out",
        "photos/x.log",
    ];
    assert_eq!(files(&found), expected);
    assert!(
        found.iter().any(
            |found| matches!(found, Found::BadLine(at, _) if at.starts_with(top.join("deep")))
        )
    );

    let found = walk(std::slice::from_ref(&top), rules(&["-*.tmp"]));
    let expected =
        ["photos/.towlineignore", "photos/a.jpg", "photos/deep/.towlineignore", "photos/x.log"];
    assert_eq!(files(&found), expected[..]);
    let excluded = found.iter().filter(|found| matches!(found, Found::Excluded)).count();
    // Three files by the rule, one by the ignore file, and one whole folder.
    assert_eq!(excluded, 5);

    // Folders are looked into for what is to be included.
    let found = walk(std::slice::from_ref(&top), rules(&["+*.tmp"]));
    assert_eq!(files(&found), ["photos/a.tmp", "photos/deep/b.tmp", "photos/deep/keep.tmp"]);
    // Of the folders only those are sent in which something lies that is.
    assert_eq!(folders(&found), ["photos", "photos/deep"]);
    // What was named itself is sent whatever the rules say.
    let found = walk(&[top.join("a.tmp")], rules(&["-*.tmp"]));
    assert_eq!(files(&found), ["a.tmp"]);
}

#[cfg(unix)]
#[test]
fn links_can_stand_for_what_they_lead_to() {
    let (home, top) = tree(&["a/x"]);
    let outside = home.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("y"), "12345").unwrap();
    let link = |target: &Path, name: &str| {
        std::os::unix::fs::symlink(target, top.join(name)).unwrap();
    };
    link(&outside, "folder");
    link(&outside.join("y"), "file");
    link(Path::new("nowhere"), "broken");
    link(Path::new("."), "round");
    let options = WalkOptions { follows_links: true, ..WalkOptions::default() };
    let found = walk(std::slice::from_ref(&top), options);
    assert_eq!(files(&found), ["photos/a/x", "photos/file", "photos/folder/y"]);
    assert!(found.iter().any(|found| matches!(found, Found::File(_, 5))));
    let skipped = found.iter().filter(|found| matches!(found, Found::Skipped(..))).count();
    assert_eq!(skipped, 2);
}
