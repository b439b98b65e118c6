//! The named parameters of lists: one table of what each of them does here, or why it does nothing.
//!
//! After the PMDF System Manager's Guide, section 4.1.1 ("Named Parameters"), and Messaging Server's "Alias file named
//! parameters". `docs/reference/aliases.md` has the table as it stands here; a test compares them.
//!
//! # Not here
//! What becomes of mail for a list (`rewrite`).

use super::{Alias, address};
use crate::values;

/// What stands behind the brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// An address, or `/` for the sender of the message.
    Sender,
    Address,
    /// Names of channels, with blanks in between.
    Channels,
    /// A file with one address a line.
    Senders,
    /// The name of a mapping table.
    Table,
    Number,
    Text,
    /// Anything: it changes nothing.
    Idle,
}

/// One parameter.
#[derive(Debug, Clone, Copy)]
pub struct ListParameter {
    /// Its name, in capitals.
    pub name: &'static str,
    pub(super) value: Value,
    /// What it does; of one without effect, why it has none.
    pub text: &'static str,
}

impl ListParameter {
    /// Does it change anything here?
    #[must_use]
    pub fn acts(&self) -> bool {
        self.value != Value::Idle
    }

    /// The word for its value.
    #[must_use]
    pub fn argument(&self) -> &'static str {
        match self.value {
            Value::Sender | Value::Address => "address",
            Value::Channels => "channels",
            Value::Senders => "file",
            Value::Table => "table",
            Value::Number => "number",
            Value::Text => "text",
            Value::Idle => "",
        }
    }
}

const fn row(name: &'static str, value: Value, text: &'static str) -> ListParameter {
    ListParameter { name, value, text }
}

const HEADERS: &str =
    "no header is added for a list; a header option file of the destination channel can (`headertrim`)";
const LOGINS: &str =
    "the login is not known where aliases are looked up; use `[AUTH_LIST]` or the access tables";
const RECEIPTS: &str = "what a client asks for about notices holds for the members too";
const NOT_TOLD: &str = "EXPN is not answered, and VRFY does not tell whom a list stands for";
const NOTES: &str = "it describes the list and is for people";

/// All parameters.
pub(super) const PARAMETERS: &[ListParameter] = &[
    row(
        "ENVELOPE_FROM",
        Value::Sender,
        "Envelope sender of the copies: who is told of failures. Mail with an empty sender keeps it. With `/` every sender is kept.",
    ),
    row("ERRORS_TO", Value::Sender, "The same, where `[ENVELOPE_FROM]` is not given."),
    row("AUTH_LIST", Value::Senders, "Only these envelope senders may use the list."),
    row("CANT_LIST", Value::Senders, "These senders may not."),
    row("HOLD_LIST", Value::Senders, "The copies of what these senders send are put on hold."),
    row("NOHOLD_LIST", Value::Senders, "The copies of what anybody else sends are put on hold."),
    row(
        "AUTH_MAPPING",
        Value::Table,
        "Only senders for whom this mapping table answers `$Y` may use the list.",
    ),
    row("CANT_MAPPING", Value::Table, "Senders for whom it answers `$Y` may not."),
    row("HOLD_MAPPING", Value::Table, "What senders send for whom it answers `$Y` is put on hold."),
    row("NOHOLD_MAPPING", Value::Table, "What anybody else sends is put on hold."),
    row(
        "AUTH_CHANNEL",
        Value::Channels,
        "Only mail that comes in by one of these channels may use the list; `*` stands for any characters.",
    ),
    row("CANT_CHANNEL", Value::Channels, "Mail that comes in by one of these channels may not."),
    row(
        "MODERATOR_ADDRESS",
        Value::Address,
        "What others than moderators send goes to this address, as it came, and not to the list.",
    ),
    row(
        "MODERATOR_LIST",
        Value::Senders,
        "The moderators, besides that address: what they send goes to the list.",
    ),
    row("MODERATOR_MAPPING", Value::Table, "Moderators are also senders for whom this table answers `$Y`."),
    row(
        "ERROR_TEXT",
        Value::Text,
        "What is said to a sender who may not use the list; otherwise `you are not allowed to use this list`.",
    ),
    row(
        "BLOCKLIMIT",
        Value::Number,
        "Most blocks (`BLOCK_SIZE`) of a message for the list; 0 is no limit. Limits of channels hold besides.",
    ),
    row("LINELIMIT", Value::Number, "Most lines of a message for the list; 0 is no limit."),
    row("AND", Value::Idle, "all conditions of a list must hold anyway"),
    row("OR", Value::Idle, "all conditions of a list must hold; put the senders into one list"),
    row("AUTH_USERNAME", Value::Idle, LOGINS),
    row("CANT_USERNAME", Value::Idle, LOGINS),
    row("USERNAME", Value::Idle, LOGINS),
    row("USERNAME_AUTH_LIST", Value::Idle, LOGINS),
    row("USERNAME_CANT_LIST", Value::Idle, LOGINS),
    row("USERNAME_MODERATOR_LIST", Value::Idle, LOGINS),
    row("BLOCK_RECEIPTS", Value::Idle, RECEIPTS),
    row("PASS_RECEIPTS", Value::Idle, RECEIPTS),
    row("DELAY_NOTIFICATIONS", Value::Idle, RECEIPTS),
    row("NODELAY_NOTIFICATIONS", Value::Idle, RECEIPTS),
    row("KEEP_DELIVERY", Value::Idle, RECEIPTS),
    row("KEEP_READ", Value::Idle, RECEIPTS),
    row("CAPTURE", Value::Idle, "nothing is captured; name the address of the archive as a member"),
    row("CONVERSION_TAG", Value::Idle, "entries of the file `conversions` that ask for a tag are skipped"),
    row("FILTER", Value::Idle, "there are no filters"),
    row("COMMENT", Value::Idle, HEADERS),
    row("DEFERRED", Value::Idle, HEADERS),
    row("HEADER_ADDITION", Value::Idle, HEADERS),
    row("HEADER_TRIM", Value::Idle, HEADERS),
    row("HEADER_TRIMMING", Value::Idle, HEADERS),
    row("IMPORTANCE", Value::Idle, HEADERS),
    row("ORIGINATOR_REPLY", Value::Idle, HEADERS),
    row("PRECEDENCE", Value::Idle, HEADERS),
    row("PRIORITY", Value::Idle, HEADERS),
    row("REPLY_TO", Value::Idle, HEADERS),
    row("SENSITIVITY", Value::Idle, HEADERS),
    row("SEQUENCE_PREFIX", Value::Idle, HEADERS),
    row("SEQUENCE_STRIP", Value::Idle, HEADERS),
    row("SEQUENCE_SUFFIX", Value::Idle, HEADERS),
    row("TAG", Value::Idle, HEADERS),
    row("HEADER_ALIAS", Value::Idle, "addresses in the header are left as they are written"),
    row("HEADER_EXPANSION", Value::Idle, "addresses in the header are left as they are written"),
    row("EXPANDABLE", Value::Idle, NOT_TOLD),
    row("NONEXPANDABLE", Value::Idle, NOT_TOLD),
    row("PRIVATE", Value::Idle, NOT_TOLD),
    row("PUBLIC", Value::Idle, NOT_TOLD),
    row(
        "RECEIVEDFOR",
        Value::Idle,
        "our `Received:` field names the address that the client gave, as the source channel says",
    ),
    row("CREATION_DATE", Value::Idle, NOTES),
    row("DESCRIPTION", Value::Idle, NOTES),
];

/// The parameters of lists, those that act first.
#[must_use]
pub fn list_parameters() -> &'static [ListParameter] {
    PARAMETERS
}

/// In the place of an address of `[ENVELOPE_FROM]` or `[ERRORS_TO]`: the envelope sender stays.
pub(super) const OWN_SENDER: &str = "/";

/// What came of setting a parameter.
pub(super) enum Set {
    Done,
    /// There is none of that name.
    Unknown,
    /// It changes nothing, for this reason.
    Idle(&'static str),
    /// The value is the name of a file that is still to be read; [`set_senders`] takes what is in it.
    File,
    /// The value is wrong, and what to do about it.
    Wrong(String, &'static str),
}

/// Sets a parameter, whose name is in capitals.
pub(super) fn set(alias: &mut Alias, name: &str, value: &str) -> Set {
    let Some(parameter) = PARAMETERS.iter().find(|parameter| parameter.name == name) else {
        return Set::Unknown;
    };
    if parameter.value == Value::Idle {
        return Set::Idle(parameter.text);
    }
    if value.is_empty() {
        return Set::Wrong("there is no value".to_owned(), "write the value behind the bracket");
    }
    let words = || Some(value.split_whitespace().map(str::to_lowercase).collect());
    match parameter.value {
        Value::Senders => return Set::File,
        Value::Sender | Value::Address => {
            let written = match address(value) {
                Ok(written) => Some(written),
                Err(_) if parameter.value == Value::Sender && value == OWN_SENDER => None,
                Err(why) => return Set::Wrong(why, "write an address"),
            };
            match name {
                "ENVELOPE_FROM" => alias.envelope_from = Some(value.to_owned()),
                "ERRORS_TO" => alias.errors_to = Some(value.to_owned()),
                _ => alias.moderator = written,
            }
        }
        Value::Channels if name == "AUTH_CHANNEL" => alias.auth_channels = words(),
        Value::Channels => alias.cant_channels = words(),
        Value::Table => {
            let table = Some(value.to_owned());
            match name {
                "AUTH_MAPPING" => alias.auth_mapping = table,
                "CANT_MAPPING" => alias.cant_mapping = table,
                "HOLD_MAPPING" => alias.hold_mapping = table,
                "NOHOLD_MAPPING" => alias.nohold_mapping = table,
                _ => alias.moderator_mapping = table,
            }
        }
        Value::Number => {
            let Some(number) = values::integer(value).and_then(|number| u32::try_from(number).ok()) else {
                return Set::Wrong("it is no number".to_owned(), "write an integer; 0 is no limit");
            };
            let limit = (number > 0).then_some(number);
            if name == "LINELIMIT" { alias.line_limit = limit } else { alias.block_limit = limit }
        }
        Value::Text | Value::Idle => alias.error_text = Some(value.to_owned()),
    }
    Set::Done
}

/// Sets a list of senders.
pub(super) fn set_senders(alias: &mut Alias, name: &str, senders: Vec<String>) {
    let senders = Some(senders);
    match name {
        "AUTH_LIST" => alias.auth_list = senders,
        "CANT_LIST" => alias.cant_list = senders,
        "HOLD_LIST" => alias.hold_list = senders,
        "MODERATOR_LIST" => alias.moderator_list = senders,
        _ => alias.nohold_list = senders,
    }
}

/// Whether the value of a database entry asks for files.
pub(crate) fn names_files(value: &str) -> bool {
    super::items(value, 0).iter().any(|(item, _)| match item {
        super::Item::List(_) => true,
        super::Item::Parameter { name, .. } => {
            let is_it =
                |one: &ListParameter| one.value == Value::Senders && one.name.eq_ignore_ascii_case(name);
            PARAMETERS.iter().any(is_it)
        }
        _ => false,
    })
}

/// The address in a place behind a list (PMDF System Manager's Guide, section 4.1.2, "Positional Parameters"): for errors,
/// answers, the header of errors, warnings, and then a comment. `*` leaves a place out; one at the end makes it conditional
/// on the header. Gives what is to be said about it.
pub(super) fn positional(alias: &mut Alias, place: usize, text: &str) -> Result<Option<String>, String> {
    if text == "*" {
        return Ok(None);
    }
    let what = match place {
        1 => {
            let text = text.strip_suffix('*').unwrap_or(text);
            address(text)?;
            alias.envelope_from.get_or_insert_with(|| text.to_owned());
            return Ok(Some(format!("`{text}` behind a list is told of failures and is no member")));
        }
        2 => "the address for answers",
        3 => "the address for errors in the header",
        4 => "the address for warnings",
        _ => "the comment",
    };
    Ok(Some(format!("`{text}` behind a list is {what}; it has no effect, and is no member")))
}
