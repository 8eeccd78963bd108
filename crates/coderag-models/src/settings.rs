use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use crate::{Error, Result};

/// Where models are kept and how the hub is reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of the [`Store`](crate::Store).
    pub store: PathBuf,
    /// Where the machine code of kernels for cards is kept.
    pub kernels: PathBuf,
    /// The hub's own cache, shared with every other program that uses the hub.
    pub hub_cache: PathBuf,
    /// The hub's address without a trailing slash.
    pub endpoint: String,
    /// Sent to the endpoint and to nobody else.
    pub token: Option<Token>,
    /// Whether the hub may be asked only through its cache.
    pub offline: bool,
}

impl Settings {
    /// Reads the environment.
    ///
    /// | variable | meaning | default |
    /// |---|---|---|
    /// | `CODERAG_CACHE` | the store is its subfolder `models`, kernels are in `kernels` | `$XDG_CACHE_HOME/coderag`, else `~/.cache/coderag` |
    /// | `HF_HOME` | the hub's cache is its subfolder `hub` | `$XDG_CACHE_HOME/huggingface`, else `~/.cache/huggingface` |
    /// | `HF_ENDPOINT` | the hub's address | `https://huggingface.co` |
    /// | `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN` | the access token | the file `token` in `HF_HOME` |
    /// | `HF_HUB_OFFLINE` | `1`, `true`, `yes` or `on`: no network | off |
    ///
    /// An empty variable counts as unset.
    ///
    /// # Errors
    /// [`Error::NoCacheFolder`] when there is neither a home folder nor a variable in its place.
    pub fn from_env() -> Result<Self> {
        Self::from_variables(|name| std::env::var_os(name), std::env::home_dir())
    }

    fn from_variables(
        variable: impl Fn(&str) -> Option<OsString>,
        home: Option<PathBuf>,
    ) -> Result<Self> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let folder = |name: &str| variable(name).map(PathBuf::from);
        let text = |name: &str| variable(name).map(|value| value.to_string_lossy().into_owned());
        let caches = folder("XDG_CACHE_HOME")
            .or_else(|| home.filter(|home| !home.as_os_str().is_empty()).map(|h| h.join(".cache")));
        let cache = |name: &str, product: &str| {
            folder(name)
                .or_else(|| caches.as_ref().map(|caches| caches.join(product)))
                .ok_or(Error::NoCacheFolder)
        };
        let hub_cache = cache("HF_HOME", "huggingface")?.join("hub");
        let token = text("HF_TOKEN")
            .or_else(|| text("HUGGING_FACE_HUB_TOKEN"))
            .map(|token| token.trim().to_owned())
            .or_else(|| hf_hub::Cache::new(hub_cache.clone()).token())
            .filter(|token| !token.is_empty())
            .map(Token);
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let own = cache("CODERAG_CACHE", "coderag")?;
        Ok(Self {
            store: own.join("models"),
            kernels: own.join("kernels"),
            hub_cache,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token,
            offline: text("HF_HUB_OFFLINE").is_some_and(|value| {
                matches!(value.to_lowercase().as_str(), "1" | "true" | "yes" | "on")
            }),
        })
    }
}

/// A hub access token. It is never printed, not even for debugging.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Wraps a token.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn settings(variables: &[(&str, &str)], home: Option<&str>) -> Result<Settings> {
        Settings::from_variables(
            |name| {
                variables
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| OsString::from(value))
            },
            home.map(PathBuf::from),
        )
    }

    #[test]
    fn the_defaults_lie_in_the_home_folder() {
        let found = settings(&[("HF_HUB_OFFLINE", ""), ("CODERAG_CACHE", "")], Some("/home/u"));
        let found = found.unwrap();
        assert_eq!(found.store, Path::new("/home/u/.cache/coderag/models"));
        assert_eq!(found.hub_cache, Path::new("/home/u/.cache/huggingface/hub"));
        assert_eq!(found.endpoint, "https://huggingface.co");
        assert!(!found.offline && found.token.is_none());
    }

    #[test]
    fn every_variable_is_honoured() {
        let found = settings(
            &[
                ("CODERAG_CACHE", "/c"),
                ("HF_HOME", "/h"),
                ("HF_ENDPOINT", "http://mirror/"),
                ("HUGGING_FACE_HUB_TOKEN", "old"),
                ("HF_TOKEN", " new\n"),
                ("HF_HUB_OFFLINE", "True"),
            ],
            None,
        )
        .unwrap();
        assert_eq!(found.store, Path::new("/c/models"));
        assert_eq!(found.hub_cache, Path::new("/h/hub"));
        assert_eq!(found.endpoint, "http://mirror");
        assert_eq!(found.token, Some(Token::new("new")));
        assert!(found.offline);
        let moved = settings(&[("XDG_CACHE_HOME", "/x"), ("HUGGING_FACE_HUB_TOKEN", "old")], None);
        let moved = moved.unwrap();
        assert_eq!(moved.store, Path::new("/x/coderag/models"));
        assert_eq!(moved.token, Some(Token::new("old")));
    }

    #[test]
    fn the_token_file_is_read_and_no_token_is_ever_printed() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "hf_secret\n").unwrap();
        let found = settings(&[("HF_HOME", home.path().to_str().unwrap())], Some("/home/u"));
        let found = found.unwrap();
        assert_eq!(found.token, Some(Token::new("hf_secret")));
        assert!(!format!("{found:?}").contains("secret"));
    }

    #[test]
    fn without_any_folder_the_error_says_what_to_set() {
        let message = settings(&[], None).unwrap_err().to_string();
        assert!(message.contains("CODERAG_CACHE"), "{message}");
    }
}
