//! The functions that migrations call: the rules for names are code, not SQL.

use super::error::CatalogError;
use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use towline_types::{DocumentPath, Name};

/// Defines them for this connection.
pub(super) fn define(connection: &Connection) -> Result<(), CatalogError> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_DIRECTONLY;
    // V3: the key of a path as it is today. Of a path that does not read the key stays, and the
    // row is found to be bad where it is read.
    connection.create_scalar_function("towline_place_key", 2, flags, |context| {
        let (path, old): (String, String) = (context.get(0)?, context.get(1)?);
        Ok(DocumentPath::recorded(&path).map_or(old, |path| path.key()))
    })?;
    // V8: a path in its parts; NULL where it does not read.
    connection.create_scalar_function("towline_folder", 1, flags, |context| {
        let path: Option<String> = context.get(0)?;
        Ok(path.and_then(|path| DocumentPath::recorded(&path).ok()).map(|path| path.folder_text()))
    })?;
    connection.create_scalar_function("towline_name", 1, flags, |context| {
        let path: Option<String> = context.get(0)?;
        let path = path.and_then(|path| DocumentPath::recorded(&path).ok());
        Ok(path.map(|path| path.filename().to_string()))
    })?;
    connection.create_scalar_function("towline_name_key", 1, flags, |context| {
        let name: Option<String> = context.get(0)?;
        Ok(name.and_then(|name| Name::recorded(name).ok()).map(|name| name.key()))
    })?;
    Ok(())
}
