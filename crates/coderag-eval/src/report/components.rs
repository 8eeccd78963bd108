use std::fmt::{self, Display};

use super::markup::Escaped;
use crate::spider::Component;
use crate::summary::{LevelScores, PartialMeans};

/// The mean F1 of the components by level: the further from 1, the stronger the colour.
pub(super) struct ComponentTable<'s>(pub(super) Vec<(&'s str, &'s LevelScores)>);

impl Display for ComponentTable<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "<p>F1 of accuracy (over the predictions that have the component) and recall (over the gold \
             queries that have it). The stronger the colour, the more is lost.</p>\n\
             <div class=\"wide\" role=\"region\" aria-label=\"F1 by component\" tabindex=\"0\">\n\
             <table class=\"heat\">\n<thead><tr><th scope=\"col\">Component</th>"
        )?;
        for (name, _) in &self.0 {
            write!(formatter, "<th scope=\"col\" class=\"number\">{}</th>", Escaped(name))?;
        }
        writeln!(formatter, "</tr></thead>\n<tbody>")?;
        let mut is_marked = false;
        for (index, component) in Component::ALL.into_iter().enumerate() {
            write!(formatter, "<tr><th scope=\"row\">{}</th>", Escaped(component.name()))?;
            for (_, level) in &self.0 {
                match level.partial.get(index) {
                    Some((_, PartialMeans { accuracy, recall, f1 })) if level.count > 0 => {
                        let is_vacuous = accuracy + recall == 0.0;
                        is_marked |= is_vacuous;
                        write!(
                            formatter,
                            "<td class=\"number\" style=\"--lost:{:.3}\" \
                             title=\"accuracy {accuracy:.3}, recall {recall:.3}\">{f1:.3}{}</td>",
                            1.0 - f1,
                            if is_vacuous { "<sup>*</sup>" } else { "" }
                        )?;
                    }
                    _ => write!(formatter, "<td class=\"number muted\">none</td>")?,
                }
            }
            writeln!(formatter, "</tr>")?;
        }
        writeln!(formatter, "</tbody>\n</table>\n</div>")?;
        if is_marked {
            writeln!(
                formatter,
                "<p class=\"muted\"><sup>*</sup> Accuracy and recall are both 0, which the official script \
                 counts as an F1 of 1: the component does not occur there, or was never right.</p>"
            )?;
        }
        Ok(())
    }
}
