use std::fmt::{self, Display};

use super::markup::{Code, Escaped};

/// What a report is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The heading.
    pub title: String,
    /// What the reader needs to make the same scores again, by name: files, their hashes, options.
    pub facts: Vec<(String, String)>,
}

/// A part of a page.
#[derive(Clone, Debug)]
pub struct Section {
    /// What links point to.
    pub id: &'static str,
    /// The heading.
    pub title: &'static str,
    /// The marked-up content.
    pub content: String,
}

/// A whole file of HTML, which is valid XML besides and needs nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Page<'p> {
    /// What it is about.
    pub about: &'p About,
    /// Its parts.
    pub sections: &'p [Section],
    /// CSS, after that which all pages have.
    pub style: &'p str,
    /// JavaScript; without `&` and `<`, which XML and HTML take differently.
    pub script: &'p str,
}

/// The file of a report of scores.
pub(super) fn page(about: &About, sections: &[Section]) -> String {
    Page { about, sections, style: "", script: include_str!("report.js") }.to_string()
}

impl Display for Page<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = Escaped(&self.about.title);
        // The policy forbids whatever would need a network, should escaping ever fail.
        writeln!(
            formatter,
            "<!DOCTYPE html>\n\
             <html lang=\"en\">\n\
             <head>\n\
             <meta charset=\"utf-8\"/>\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
             style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; \
             form-action 'none'\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <meta name=\"color-scheme\" content=\"light dark\"/>\n\
             <title>{title}</title>\n\
             <style>\n{}{}</style>\n\
             </head>\n\
             <body>\n\
             <header>\n<h1>{title}</h1>",
            include_str!("report.css"),
            self.style,
        )?;
        if !self.about.facts.is_empty() {
            writeln!(formatter, "<dl class=\"facts\">")?;
            for (name, value) in &self.about.facts {
                writeln!(formatter, "<dt>{}</dt><dd>{}</dd>", Escaped(name), Code(value))?;
            }
            writeln!(formatter, "</dl>")?;
        }
        writeln!(formatter, "<nav aria-label=\"Sections\">\n<ul>")?;
        for section in self.sections {
            writeln!(formatter, "<li><a href=\"#{}\">{}</a></li>", section.id, section.title)?;
        }
        writeln!(formatter, "</ul>\n</nav>\n</header>\n<main>")?;
        for Section { id, title, content } in self.sections {
            writeln!(
                formatter,
                "<section id=\"{id}\" aria-labelledby=\"{id}-title\">\n\
                 <h2 id=\"{id}-title\">{title}</h2>\n{content}</section>"
            )?;
        }
        writeln!(formatter, "</main>\n<script>\n{}</script>\n</body>\n</html>", self.script)
    }
}
