//! `Upload-Concat`: a client sends the parts of a file as uploads of their own, at the same time,
//! and has the server make one file of them.
//!
//! The bytes of the parts are read once more then. What a block of BLAKE3 is worth depends on its
//! place in the file, so a part cannot bring its values along; and the parts of a client do not end
//! where blocks of a disk do.

use super::super::caller::Caller;
use super::super::problem::Problem;
use axum::http::{HeaderMap, StatusCode};
use towline_engine::{Rejection, UploadHandle, WHOLE_BYTES};
use towline_state::catalog::METADATA_BYTES;
use towline_types::{DocumentId, FileSize, Offset};

/// See the module's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Concat {
    /// The upload is a part of a file, and does not become a document.
    Partial,
    /// The file is made of these uploads, in this order.
    Final(Vec<DocumentId>),
}

const PARTIAL: &str = "partial";

impl Concat {
    /// What the header says; nothing where it is not there.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let Some(value) = headers.get("upload-concat") else { return Ok(None) };
        let bad = || {
            let message = "Upload-Concat: partial, or final;/uploads/1 /uploads/2 was expected";
            Problem::bad_request("Upload-Concat", message)
        };
        let text = value.to_str().map_err(|_| bad())?.trim();
        if text == PARTIAL {
            return Ok(Some(Self::Partial));
        }
        let list = text.strip_prefix("final;").filter(|_| text.len() <= METADATA_BYTES / 2);
        let parts = list.ok_or_else(bad)?.split(' ').filter(|url| !url.is_empty()).map(|url| {
            let path = url.split(['?', '#']).next().unwrap_or_default();
            let (before, number) = path.rsplit_once('/').ok_or_else(bad)?;
            let is_upload = before == "/uploads" || before.ends_with("/uploads");
            number.parse().ok().filter(|_| is_upload).ok_or_else(bad)
        });
        let parts = parts.collect::<Result<Vec<_>, Problem>>()?;
        if parts.is_empty() {
            return Err(bad());
        }
        Ok(Some(Self::Final(parts)))
    }

    /// The header as it is given back: without the tokens that the client may have put into the
    /// addresses.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Partial => PARTIAL.to_owned(),
            Self::Final(parts) => {
                let parts: Vec<_> = parts.iter().map(|id| format!("/uploads/{id}")).collect();
                format!("final;{}", parts.join(" "))
            }
        }
    }
}

/// How long a file of these parts is.
///
/// # Errors
/// Where a part is not one of the user's, or not whole.
pub(super) async fn length(caller: &Caller, parts: &[DocumentId]) -> Result<FileSize, Problem> {
    let mut total = 0u64;
    for part in parts {
        // Its descriptor is free again before the next one is opened.
        let part = caller.account.held_bytes(*part).await?;
        total = total.saturating_add(part.filesize().get());
    }
    FileSize::try_from(total).map_err(|_| {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "size_limit", "no file can be that long")
    })
}

/// Writes the parts into the upload, one behind the other.
///
/// # Errors
/// Where the upload does not take them, or a part is damaged or was given up.
pub(super) async fn fill(
    caller: &Caller,
    upload: &mut UploadHandle,
    parts: &[DocumentId],
) -> Result<(), Problem> {
    let mut at = Offset::ZERO;
    for part in parts {
        let mut part = caller.account.held_bytes(*part).await?;
        while let Some(bytes) = part.next().await? {
            at = write(caller, upload, at, &bytes).await?;
        }
    }
    Ok(())
}

/// Writes these bytes from there on; returns where they end.
async fn write(
    caller: &Caller,
    upload: &mut UploadHandle,
    mut at: Offset,
    mut bytes: &[u8],
) -> Result<Offset, Rejection> {
    while !bytes.is_empty() {
        // Data of one command lies in one block of the file.
        let in_block = usize::try_from(at.get() % WHOLE_BYTES as u64).unwrap_or(0);
        let length = bytes.len().min(WHOLE_BYTES - in_block);
        let mut buffer = caller.account.buffer(length).await;
        buffer.space().copy_from_slice(&bytes[..length]);
        buffer.filled(length);
        upload.write(at, buffer).await?;
        at = at.plus(length as u64);
        bytes = &bytes[length..];
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn read(text: &'static str) -> Option<Concat> {
        let mut headers = HeaderMap::new();
        headers.insert("upload-concat", HeaderValue::from_static(text));
        Concat::of(&headers).ok().flatten()
    }

    #[test]
    fn parts_are_named_by_path_or_by_whole_address() {
        let ids = |text| match read(text) {
            Some(Concat::Final(parts)) => parts.iter().map(|id| id.get()).collect(),
            _ => Vec::new(),
        };
        assert_eq!(
            ids("final;/uploads/1 https://nas:8695/uploads/22?token=x  /uploads/3"),
            [1, 22, 3]
        );
        for wrong in ["final;", "final", "final;1", "final;/files/1", "final;/uploads/x", "part"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(read("partial"), Some(Concat::Partial));
    }
}
