//! The parameters of the file `conversions`, each with what it takes and what it means.
//!
//! Names are those of PMDF System Manager's Guide, "Conversion Control", and of Messaging Server's table of conversion parameters.

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConversionValue {
    /// A text with `*` and `%` for any characters and any one, case aside.
    Pattern,
    /// A word of MIME.
    Token,
    /// Any text.
    Text,
    /// 0 or 1.
    Switch,
    /// 0, 1 or 2.
    HeaderFile,
    /// The name of a variable of the environment.
    Variable,
    /// One of these words.
    Words(&'static [&'static str]),
}

/// What a parameter is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConversionUse {
    /// The entry is for parts of which this is true.
    Condition,
    /// What is done, and what the part becomes.
    Action,
    /// A word of the products for what does not exist here: an entry that has it does nothing.
    Elsewhere,
    /// A word of the products that does nothing here; the entry acts without it.
    PassedOver,
}

/// A parameter of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConversionParameter {
    /// The name, in lower case. One that ends in `-` has a number behind.
    pub name: &'static str,
    /// Another name for the same; empty for none.
    pub also: &'static str,
    /// What it takes.
    pub value: ConversionValue,
    /// What it is for.
    pub part: ConversionUse,
    /// What it means.
    pub meaning: &'static str,
}

use ConversionUse::{Action, Condition, Elsewhere, PassedOver};
use ConversionValue::{HeaderFile, Pattern, Switch, Token, Variable, Words};

const fn is(
    name: &'static str,
    value: ConversionValue,
    part: ConversionUse,
    meaning: &'static str,
) -> ConversionParameter {
    ConversionParameter { name, also: "", value, part, meaning }
}

/// Encodings that parts are given here.
const ENCODINGS: &[&str] = &["none", "7bit", "8bit", "quoted-printable", "base64"];
const MODES: &[&str] = &["text", "block", "record", "record-attribute"];

pub(super) static PARAMETERS: &[ConversionParameter] = &[
    ConversionParameter {
        also: "in-chan",
        ..is("in-channel", Pattern, Condition, "the channel that the message came in by")
    },
    ConversionParameter {
        also: "out-chan",
        ..is("out-channel", Pattern, Condition, "the channel that the message goes to")
    },
    is("in-type", Pattern, Condition, "the type of the part (`text`). Each entry must have it"),
    is("in-subtype", Pattern, Condition, "the subtype of the part (`plain`)"),
    is("in-parameter-name-", Token, Condition, "a parameter of Content-Type that the part must have"),
    is("in-parameter-value-", Pattern, Condition, "what the parameter with the same number must be"),
    is(
        "in-parameter-default-",
        ConversionValue::Text,
        Condition,
        "what the parameter counts as where the part does not have it",
    ),
    is("in-disposition", Pattern, Condition, "the word in Content-Disposition (`attachment`)"),
    is("in-dparameter-name-", Token, Condition, "a parameter of Content-Disposition that the part must have"),
    is("in-dparameter-value-", Pattern, Condition, "what the parameter with the same number must be"),
    is(
        "in-dparameter-default-",
        ConversionValue::Text,
        Condition,
        "what the parameter counts as where the part does not have it",
    ),
    is("in-description", Pattern, Condition, "Content-Description of the part"),
    is(
        "in-subject",
        Pattern,
        Condition,
        "Subject of the message that the part is in, or of the nearest one that encloses it",
    ),
    is("in-encoding", Pattern, Condition, "Content-Transfer-Encoding of the part; `7bit` where it says none"),
    is("part-number", Pattern, Condition, "the number of the part, such as `1.2`"),
    is(
        "command",
        ConversionValue::Text,
        Action,
        "the program that converts the part, a line for `/bin/sh -c`",
    ),
    is("delete", Switch, Action, "1: the part is taken out of the message; no program is run"),
    is("out-type", Token, Action, "the type that the part gets"),
    is("out-subtype", Token, Action, "the subtype that the part gets"),
    is("out-parameter-name-", Token, Action, "a parameter that its Content-Type gets"),
    is(
        "out-parameter-value-",
        ConversionValue::Text,
        Action,
        "the value of the parameter with the same number",
    ),
    is(
        "parameter-copy-",
        ConversionValue::Text,
        Action,
        "a parameter of Content-Type that the part keeps; `*` keeps all that are not given anew",
    ),
    is("out-disposition", Token, Action, "the word that its Content-Disposition gets"),
    is("out-dparameter-name-", Token, Action, "a parameter that its Content-Disposition gets"),
    is(
        "out-dparameter-value-",
        ConversionValue::Text,
        Action,
        "the value of the parameter with the same number",
    ),
    is(
        "dparameter-copy-",
        ConversionValue::Text,
        Action,
        "a parameter of Content-Disposition that the part keeps; `*` keeps all that are not given anew",
    ),
    is("out-description", ConversionValue::Text, Action, "what its Content-Description becomes"),
    is(
        "out-mode",
        Words(MODES),
        Action,
        "what the program writes: `text`, lines; `block`, octets. `record` and `record-attribute` are octets too",
    ),
    is("out-encoding", Words(ENCODINGS), Action, "how the part is encoded; without it, as its content needs"),
    is(
        "parameter-symbol-",
        Variable,
        Action,
        "a variable of the program's environment that gets the parameter of Content-Type with this name",
    ),
    is(
        "dparameter-symbol-",
        Variable,
        Action,
        "a variable of the program's environment that gets the parameter of Content-Disposition with this name",
    ),
    is(
        "original-header-file",
        Switch,
        Action,
        "1: the header of the part is written into the file INPUT_HEADERS",
    ),
    is(
        "message-header-file",
        HeaderFile,
        Action,
        "1: the header of the nearest message around the part is written into the file MESSAGE_HEADERS; 2: that of the whole message",
    ),
    is(
        "override-header-file",
        Switch,
        Action,
        "1: `Content-` fields that the program writes into the file OUTPUT_HEADERS take the place of those of the part",
    ),
    is(
        "override-option-file",
        Switch,
        Action,
        "1: what the program writes into the file OUTPUT_OPTIONS says what becomes of the part and of the message",
    ),
    is(
        "relabel",
        Switch,
        Elsewhere,
        "1: the entry is for the table CHARSET-CONVERSION, which nobody asks here, and is skipped, as in PMDF",
    ),
    is(
        "service-command",
        ConversionValue::Text,
        Elsewhere,
        "a conversion service of the table CHARSET-CONVERSION",
    ),
    is("tag", Pattern, Elsewhere, "conversion tags, which do not exist here"),
    is("in-message-context", Pattern, Elsewhere, "the context of a voice message"),
    is("attachment-number", Pattern, Elsewhere, "a count of attachments; write `part-number`"),
    is("in-a1-type", Pattern, Elsewhere, "a type of ALL-IN-1"),
    is("in-a1-format", Pattern, Elsewhere, "a format of ALL-IN-1"),
    is("out-a1-type", ConversionValue::Text, PassedOver, "a type of ALL-IN-1"),
    is("out-a1-format", ConversionValue::Text, PassedOver, "a format of ALL-IN-1"),
];

/// Variables that the channel itself sets, or that steer the shell.
pub(super) const TAKEN: &[&str] = &[
    "ATTACHMENT_NUMBER",
    "CONVERSION_TAG",
    "ENV",
    "ENVELOPE_FROM",
    "HOME",
    "IFS",
    "INPUT_CHANNEL",
    "INPUT_DESCRIPTION",
    "INPUT_DISPOSITION",
    "INPUT_ENCODING",
    "INPUT_FILE",
    "INPUT_HEADERS",
    "INPUT_SUBTYPE",
    "INPUT_TYPE",
    "LANG",
    "LOGNAME",
    "MESSAGE_HEADERS",
    "OUTPUT_CHANNEL",
    "OUTPUT_DESCRIPTION",
    "OUTPUT_DISPOSITION",
    "OUTPUT_ENCODING",
    "OUTPUT_FILE",
    "OUTPUT_HEADERS",
    "OUTPUT_MODE",
    "OUTPUT_OPTIONS",
    "OUTPUT_SUBTYPE",
    "OUTPUT_TYPE",
    "PART_NUMBER",
    "PART_SIZE",
    "PATH",
    "QUEUE_ID",
    "SHELL",
    "TMPDIR",
    "USER",
];

/// Every parameter of the file.
#[must_use]
pub fn conversion_parameters() -> &'static [ConversionParameter] {
    PARAMETERS
}
