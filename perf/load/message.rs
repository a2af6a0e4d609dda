//! A message of `load rate`: how its requests are made, and what their answers have to hold.

use memchr::memmem::{self, Finder};

use crate::template::Template;

/// One of the messages that are sent.
pub(crate) struct Message {
    pub(crate) name: String,
    /// How often it is sent, in proportion to the others.
    pub(crate) weight: u32,
    pub(crate) template: Template,
    expected: Expected,
}

/// What an answer has to hold besides being a result.
enum Expected {
    Nothing,
    /// The same text in every one.
    Text(Box<Finder<'static>>),
    /// A text with the number of its request.
    OfRequest(Template),
}

impl Message {
    /// `expect` may have `$NUMBER` in it, which is that of the request then.
    pub(crate) fn new(name: &str, weight: u32, template: Template, expect: Option<&str>) -> Self {
        let expected = match expect {
            None => Expected::Nothing,
            Some(text) => {
                let template = Template::new(text);
                if template.has_number() {
                    Expected::OfRequest(template)
                } else {
                    Expected::Text(Box::new(Finder::new(text).into_owned()))
                }
            }
        };
        Self {
            name: name.to_owned(),
            weight,
            template,
            expected,
        }
    }

    /// Whether the answer to the request with this id and number holds what it has to.
    pub(crate) fn is_answered(&mut self, answer: &[u8], id: u64, number: u64) -> bool {
        match &mut self.expected {
            Expected::Nothing => true,
            Expected::Text(finder) => finder.find(answer).is_some(),
            Expected::OfRequest(template) => {
                memmem::find(answer, template.with(id, number)).is_some()
            }
        }
    }
}
