//! The stable codes of diagnostics.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $text:literal,)*) => {
        /// What kind of mistake a diagnostic is about. The text is stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable dotted text, such as `config.unknown_field`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

codes! {
    /// There is no pipeline file where one was looked for.
    NotFound = "config.not_found",
    /// The file, or what it expands to, is too large.
    TooLarge = "config.too_large",
    /// Lists and mappings are nested too deeply.
    TooDeep = "config.too_deep",
    /// Aliases multiply what the file says beyond a limit.
    AliasBudget = "config.alias_budget",
    /// An alias has no anchor, or stands inside what it names.
    BadAlias = "config.bad_alias",
    /// Bytes that are not UTF-8, or characters that nobody can see.
    BadText = "config.bad_text",
    /// The text is not YAML.
    Syntax = "config.syntax",
    /// The stream holds more than one document.
    MultipleDocuments = "config.multiple_documents",
    /// A key stands twice in one mapping.
    DuplicateKey = "config.duplicate_key",
    /// The format version is none that this Seatrial reads.
    UnknownVersion = "config.unknown_version",
    /// A field that the format does not have.
    UnknownField = "config.unknown_field",
    /// A field that must be there is not.
    MissingField = "config.missing_field",
    /// A value of another type than the field takes.
    WrongType = "config.wrong_type",
    /// A value of the right type that is not allowed.
    BadValue = "config.bad_value",
    /// Fields that exclude one another.
    Conflict = "config.conflict",
    /// Part of the format that this version does not carry out.
    NotAvailableYet = "config.not_available_yet",
    /// A name that is not a DNS label.
    BadName = "config.bad_name",
    /// A name of something that the file does not have.
    UnknownRef = "config.unknown_ref",
    /// Things that stand on each other in a circle.
    Cycle = "config.cycle",
    /// A duration, size or number without a sound unit or value.
    BadQuantity = "config.bad_quantity",
    /// A glob or regular expression that is malformed, too long or leaves the
    /// project.
    BadPattern = "config.bad_pattern",
    /// A filter of tests that is malformed.
    BadFilter = "config.bad_filter",
    /// A path that leaves the project, or must be absolute and is not.
    BadPath = "config.bad_path",
    /// An environment variable that a pipeline may not set.
    EnvForbidden = "config.env_forbidden",
    /// A template expression inside a script.
    InterpolationInScript = "config.interpolation_in_script",
    /// An image by tag, or with a malformed digest.
    NotPinned = "image.not_pinned",
    /// A parameter that the file does not have, or a value it does not allow.
    BadParam = "config.bad_param",
    /// A tool that Seatrial knows nothing about (a warning).
    UnknownTool = "config.unknown_tool",
    /// Something that nothing uses (a warning).
    Unused = "config.unused",
    /// More mistakes than are shown.
    TooMany = "config.too_many",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_all_different() {
        let mut texts: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), Code::ALL.len());
    }
}
