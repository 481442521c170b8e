//! What is wrong with an input: every wrong field at once, with its name.

use std::collections::BTreeMap;

/// Messages for people, by the name of the field they are about. Never empty when returned as an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invalid {
    fields: BTreeMap<String, Vec<String>>,
}

impl Invalid {
    /// Nothing wrong yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One thing wrong with one field.
    pub fn field(name: &str, message: impl Into<String>) -> Self {
        let mut invalid = Self::new();
        invalid.add(name, message);
        invalid
    }

    /// Notes one more thing that is wrong.
    pub fn add(&mut self, name: &str, message: impl Into<String>) {
        self.fields.entry(name.to_owned()).or_default().push(message.into());
    }

    /// Keeps a value that is right, notes what is wrong otherwise.
    pub fn take<T>(&mut self, name: &str, checked: Result<T, String>) -> Option<T> {
        checked.map_err(|message| self.add(name, message)).ok()
    }

    /// What was checked elsewhere, if nothing is wrong there or here; otherwise all that is.
    pub fn and<T>(mut self, checked: Result<T, Self>) -> Result<T, Self> {
        match checked {
            Ok(good) => self.into_result().map(|()| good),
            Err(wrong) => {
                self.fields.extend(wrong.fields);
                Err(self)
            }
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The messages by field, in the order of their names.
    pub fn fields(&self) -> &BTreeMap<String, Vec<String>> {
        &self.fields
    }

    /// `Ok` when nothing is wrong.
    pub fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

/// The field isn't there.
pub const REQUIRED: &str = "This field is required.";
/// The field is there, but empty.
pub const BLANK: &str = "This field may not be blank.";
/// The field is `null`.
pub const NULL: &str = "This field may not be null.";

/// The message for a value that isn't one of the choices.
pub fn not_a_choice(given: &str) -> String {
    /// Enough to recognise what was sent without echoing a whole body back.
    const SHOWN: usize = 80;
    let shown: String = given.chars().take(SHOWN).collect();
    format!("\"{shown}\" is not a valid choice.")
}
