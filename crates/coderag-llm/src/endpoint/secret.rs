use std::fmt;

/// A text that is sent and never shown: it has no `Display`, and `Debug` hides it.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    /// Takes a secret. White space around it, such as a file's last line end, is dropped; a text of
    /// nothing else is no secret.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// The text itself, for the one place that sends it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Blanks the secret out of a text that someone else wrote: some servers quote the key they
    /// refuse.
    pub(crate) fn redact(&self, text: &str) -> String {
        text.replace(&self.0, "[key]")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret([key])")
    }
}
