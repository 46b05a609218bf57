//! What a user has is counted with every row, and a quota is never passed.

use crate::fixture::{Fixture, at, checkpoint, hash, refusal, size, user};
use towline_state::Catalog;
use towline_state::catalog::{
    Bytes, Created, OwnLimit, OwnQuota, Quota, QuotaKind, Refusal, Unless, UserShare,
};
use towline_upload::{Length, Phase};

/// What the rows of the documents of all users add up to, and what the users' rows say.
pub(crate) fn assert_counted(f: &Fixture) {
    let sql = "SELECT count(*) FROM users WHERE (used_bytes, used_files) IS NOT (\
               SELECT coalesce(sum(CASE length_is_open WHEN 1 THEN durable_offset ELSE filesize END), 0), \
               count(*) FROM documents WHERE documents.user_id = users.user_id \
               AND status IN ('uploading', 'publishing', 'completed'))";
    let wrong: i64 = f.by_hand().query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(wrong, 0, "users whose sums are not those of their documents");
}

fn used(f: &Fixture) -> (u64, u64) {
    assert_counted(f);
    let UserShare { used_bytes, used_files, .. } = f.catalog.user_share(f.user).wait().unwrap();
    (used_bytes, used_files)
}

fn own(bytes: OwnLimit, files: OwnLimit) -> OwnQuota {
    OwnQuota { bytes, files }
}

#[test]
fn every_way_of_a_document_is_counted() {
    let f = Fixture::new();
    let upload = f.create("a", 100);
    assert_eq!(used(&f), (100, 1), "an upload counts as what it may become");
    f.catalog.grow(upload, size(150), 0, size(0).end()).wait().unwrap();
    assert_eq!(used(&f), (150, 1));
    f.begin(upload).unwrap();
    assert_eq!(used(&f), (150, 1));
    f.catalog.complete_publish(upload, None, at(30)).wait().unwrap();
    assert_eq!(used(&f), (150, 1));
    let (_, place) = f.complete("b", 20);
    assert_eq!((used(&f), place.as_str()), ((170, 2), "b"));
    f.catalog.lose(upload, "gone", at(40)).wait().unwrap();
    assert_eq!(used(&f), (20, 1));
    for ending in [Phase::Failed, Phase::Cancelled, Phase::Expired] {
        let ended = f.create("c", 7);
        assert_eq!(used(&f), (27, 2));
        f.catalog.finish(ended, ending, "over", at(50)).wait().unwrap();
        assert_eq!(used(&f), (20, 1));
    }
    // What lies in the trash counts until it is forgotten.
    let removed = f.remove("b");
    assert_eq!(used(&f), (20, 1));
    while !f.catalog.forget_trash(f.user, removed, 10).wait().unwrap() {}
    assert_eq!(used(&f), (0, 0));
}

#[test]
fn a_length_that_is_not_known_counts_as_far_as_it_is_durable() {
    let f = Fixture::new();
    let mut new = f.new_document("pipe", 0);
    new.length = Length::Open { max: size(1 << 40) };
    let id = f.create_new(new, 9).unwrap();
    assert_eq!(used(&f), (0, 1));
    f.catalog.checkpoint(vec![checkpoint(id, 70, Vec::new())]).wait().unwrap();
    assert_eq!(used(&f), (70, 1));
    f.catalog.declare_length(id, size(90)).wait().unwrap();
    assert_eq!(used(&f), (90, 1));
}

#[test]
fn a_quota_is_reached_and_not_passed() {
    let f = Fixture::new();
    f.catalog.set_default_quota(Quota { bytes: Some(100), files: Some(3) });
    f.complete("a", 60);
    let beyond = refusal(f.create_new(f.new_document("b", 41), 9));
    let expected = Refusal::QuotaUsedUp { kind: QuotaKind::Bytes, used: 60, more: 41, limit: 100 };
    assert_eq!(format!("{beyond:?}"), format!("{expected:?}"));
    let exactly = f.create_new(f.new_document("b", 40), 9).unwrap();
    assert!(matches!(
        refusal(f.catalog.grow(exactly, size(41), 0, size(0).end()).wait()),
        Refusal::QuotaUsedUp { .. }
    ));
    f.catalog.finish(exactly, Phase::Cancelled, "no more", at(20)).wait().unwrap();

    // A file that comes whole is no way around it, and an empty one is a file.
    let whole = |place: &str, bytes| {
        let id = f.catalog.reserve_document_id(f.user).unwrap();
        let (new, unless) = (f.new_document(place, bytes), Unless::default());
        f.catalog.publish_new(id, new, unless, hash(9), Bytes::Synced).wait()
    };
    assert!(matches!(refusal(whole("c", 41)), Refusal::QuotaUsedUp { kind: QuotaKind::Bytes, .. }));
    assert!(matches!(whole("c", 0), Ok(Created::New(_))));
    assert!(matches!(whole("d", 0), Ok(Created::New(_))));
    assert!(matches!(refusal(whole("e", 0)), Refusal::QuotaUsedUp { kind: QuotaKind::Files, .. }));

    // An own limit goes before that of the server, in both directions.
    let set = |own| f.catalog.set_quota(f.user, own).wait().unwrap();
    set(own(OwnLimit::Unlimited, OwnLimit::Limit(4)));
    assert!(whole("e", 1000).is_ok());
    assert!(whole("f", 0).is_err());
    set(own(OwnLimit::Limit(0), OwnLimit::Unlimited));
    assert!(whole("f", 1).is_err());
    assert!(whole("f", 0).is_ok(), "it takes no byte");
    set(OwnQuota::default());
    assert!(whole("g", 0).is_err());
    assert!(matches!(
        refusal(f.catalog.set_quota(user(99), OwnQuota::default()).wait()),
        Refusal::NoSuchUser
    ));
    assert_counted(&f);
}

#[test]
fn a_catalog_of_before_is_counted_once() {
    let f = Fixture::new();
    f.complete("a", 60);
    f.create("b", 5);
    let sums = used(&f);
    // As the schema before had it.
    f.by_hand()
        .execute_batch(
            "DROP TRIGGER documents_come; DROP TRIGGER documents_go; DROP TRIGGER documents_end; \
             DROP TRIGGER documents_change; \
             ALTER TABLE users DROP COLUMN quota_bytes; ALTER TABLE users DROP COLUMN quota_files; \
             ALTER TABLE users DROP COLUMN used_bytes; ALTER TABLE users DROP COLUMN used_files; \
             DROP TABLE joins; DROP TABLE cancellations; DROP TABLE descriptions; \
             DROP TABLE jobs; DROP TABLE verdicts; DROP INDEX documents_held; \
             ALTER TABLE documents DROP COLUMN availability; \
             DROP INDEX documents_ended; \
             DELETE FROM refinery_schema_history WHERE version >= 11;",
        )
        .unwrap();
    let (folder, owner) = (f.folder, f.user);
    f.catalog.close().wait().unwrap();
    let catalog = Catalog::open(folder.path().join("catalog.db")).unwrap();
    let f = Fixture { folder, catalog, user: owner };
    assert_eq!(used(&f), sums);
}
