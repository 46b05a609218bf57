//! `Upload-Metadata`: what a client of tus says of a file. Pairs with a comma between them, each a
//! key, and behind a space its value in base64.

use super::super::problem::Problem;
use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use towline_state::catalog::METADATA_BYTES;
use towline_types::Name;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    text: Option<String>,
    pairs: Vec<(String, Vec<u8>)>,
}

/// The name of a file of which the client says none.
const NAMELESS: &str = "upload";

impl Metadata {
    /// What the header says.
    ///
    /// # Errors
    /// Where it cannot be read, or is too long.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(value) = headers.get("upload-metadata") else { return Ok(Self::default()) };
        let bad = |what: String| Problem::bad_request("Upload-Metadata", what);
        let unreadable = || {
            bad("Upload-Metadata: keys and values in base64 were expected, as in: filename ZG9jLnBkZg=="
                .to_owned())
        };
        let text = value.to_str().map_err(|_| unreadable())?;
        if text.len() > METADATA_BYTES {
            return Err(bad(format!("Upload-Metadata: at most {METADATA_BYTES} bytes")));
        }
        let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
            let value = STANDARD.decode(value.trim()).map_err(|_| unreadable())?;
            if pairs.iter().any(|(earlier, _)| earlier == key) {
                return Err(bad(format!("Upload-Metadata: the key {key} stands there twice")));
            }
            pairs.push((key.to_owned(), value));
        }
        Ok(Self { text: Some(text.to_owned()), pairs })
    }

    /// The header as the client has sent it.
    pub(super) fn text(&self) -> Option<String> {
        self.text.clone()
    }

    /// The name of the file: `filename`, or `name` as some clients call it.
    pub(super) fn filename(&self) -> Result<Name, Problem> {
        let name = match self.value("filename")?.or(self.value("name")?) {
            Some(name) => name,
            None => NAMELESS.to_owned(),
        };
        Ok(Name::new(&name)?)
    }

    /// The folder of the file. Clients that send folders say the path of each file in
    /// `relativePath`, the name of the file included.
    pub(super) fn folder(&self) -> Result<Vec<Name>, Problem> {
        let path = self.value("relativePath")?.unwrap_or_default();
        let (folder, _) = path.rsplit_once('/').unwrap_or_default();
        let names = folder.split('/').filter(|name| !name.is_empty());
        names.map(|name| Ok(Name::new(name)?)).collect()
    }

    fn value(&self, key: &str) -> Result<Option<String>, Problem> {
        let Some((_, value)) = self.pairs.iter().find(|(one, _)| one == key) else {
            return Ok(None);
        };
        let text = String::from_utf8(value.clone()).map_err(|_| {
            Problem::bad_request("Upload-Metadata", format!("Upload-Metadata: {key} is no UTF-8"))
        })?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }
}

/// What is kept of an upload, because the client wants it back: two headers. They are kept as one
/// text, with a line end between them where there is a second one; a header has no line end.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) metadata: Option<String>,
    /// `Upload-Concat`.
    pub(super) concat: Option<String>,
}

impl Kept {
    pub(super) fn of(text: Option<String>) -> Self {
        let Some(text) = text else { return Self::default() };
        let (metadata, concat) = match text.split_once('\n') {
            Some((metadata, concat)) => (metadata.to_owned(), Some(concat.to_owned())),
            None => (text, None),
        };
        Self { metadata: Some(metadata).filter(|text| !text.is_empty()), concat }
    }

    /// The text that is kept.
    ///
    /// # Errors
    /// Where it is too long.
    pub(super) fn text(&self) -> Result<Option<String>, Problem> {
        let text = match (&self.metadata, &self.concat) {
            (metadata, None) => return Ok(metadata.clone()),
            (metadata, Some(concat)) => {
                format!("{}\n{concat}", metadata.as_deref().unwrap_or_default())
            }
        };
        if text.len() > METADATA_BYTES {
            let message =
                format!("Upload-Metadata and Upload-Concat: at most {METADATA_BYTES} bytes");
            return Err(Problem::bad_request("Upload-Metadata", message));
        }
        Ok(Some(text))
    }

    /// Whether the upload is a part of a file.
    pub(super) fn is_part(&self) -> bool {
        self.concat.as_deref() == Some("partial")
    }

    /// Whether the file was made of parts.
    pub(super) fn is_final(&self) -> bool {
        self.concat.is_some() && !self.is_part()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Metadata, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert("upload-metadata", text.parse().unwrap());
        Metadata::of(&headers)
    }

    fn path(text: &str) -> Result<String, u16> {
        let metadata = of(text).map_err(|problem| problem.status())?;
        let path = metadata.folder().and_then(|folder| {
            let names = folder.iter().map(|name| format!("{name}/")).collect::<String>();
            Ok(names + metadata.filename()?.as_str())
        });
        path.map_err(|problem| problem.status())
    }

    fn pair(key: &str, value: &str) -> String {
        format!("{key} {}", STANDARD.encode(value))
    }

    #[test]
    fn the_place_of_the_file_is_in_it() {
        let paths = |text: String| path(&text);
        assert_eq!(paths(pair("filename", "Ä.pdf")), Ok("Ä.pdf".to_owned()));
        assert_eq!(paths(pair("name", "a.pdf")), Ok("a.pdf".to_owned()));
        assert_eq!(paths("is_confidential".to_owned()), Ok("upload".to_owned()));
        let both = format!("{},{}", pair("filename", "a"), pair("relativePath", "x/y/a"));
        assert_eq!(paths(both), Ok("x/y/a".to_owned()));
        let null = format!("{}, {}", pair("filename", "a"), pair("relativePath", "null"));
        assert_eq!(paths(null), Ok("a".to_owned()));
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        for name in ["../a", "a/b", "..", "a\nb"] {
            assert_eq!(path(&pair("filename", name)), Err(422), "{name:?}");
        }
        assert_eq!(path(&pair("relativePath", "../x/a")), Err(422));
        for text in ["filename %%%", "filename YQ==,filename YQ=="] {
            assert_eq!(path(text), Err(400), "{text}");
        }
        assert_eq!(path(&format!("a {}", "A".repeat(4096))), Err(400));
    }
}
