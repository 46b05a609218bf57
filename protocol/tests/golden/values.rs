//! The values that the golden frames have.

pub(crate) use towline_testkit::{
    at as moment, change, id as document, index, node, offset, size, user,
};

use towline_types::{ChainingValue, FileHash, Generation};

pub(crate) const TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxMjMifQ.c2lnbmF0dXJl";
pub(crate) const SECRET: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
pub(crate) const HASH_OF_4_BLOCKS: &str =
    "8f3f67e881a256c8a2cc45cce1a0b500a1dd0500623fe5363fe7f77518267c5a";
pub(crate) const HASH_OF_1_BLOCK: &str =
    "74cb441fd087764ca9c3694da742ebe30cbeb3060a17009ca81825c7a8d10343";
pub(crate) const VALUE_1: &str = "e01e387e729abf35ba39644daebfa3a124ab9fee5a6445295e0309cc4fda53a7";
pub(crate) const VALUE_2: &str = "bdcf82608b11c686cb5a2618dc95a16978b73622e9a943dd26af5bdbf7f4b41b";

pub(crate) fn hash(hex: &str) -> FileHash {
    FileHash::try_from(hex.to_owned()).unwrap()
}

pub(crate) fn value(hex: &str) -> ChainingValue {
    ChainingValue::try_from(hex.to_owned()).unwrap()
}

pub(crate) fn lease() -> Generation {
    Generation::try_from(1_705_331_250_000).unwrap()
}

pub(crate) fn lectures() -> Vec<String> {
    vec!["lectures".to_owned(), "2024".to_owned()]
}
