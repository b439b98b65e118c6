//! Spellings of a local part with a subaddress: what is looked up for it, and what becomes of the members that are found.

use sluice_config::{Alias, Channel};
use sluice_mail::Address;

/// A spelling of the local part that is looked up.
pub(super) struct Form {
    pub(super) local: String,
    /// What was left out of it, or stands for its `*`.
    pub(super) subaddress: String,
}

/// `user+sub` in full; `user+*` unless the channel has `subaddressexact`; `user` if it has `subaddressrelaxed`, as it has
/// by default.
pub(super) fn forms(address: &Address, channel: &Channel) -> Vec<Form> {
    let local = unquoted(&address.local);
    let mut forms = vec![Form { local: local.clone(), subaddress: String::new() }];
    let Some(plus) = local.find('+').filter(|plus| *plus > 0) else { return forms };
    let (user, subaddress) = local.split_at(plus);
    if !channel.has("subaddressexact") {
        forms.push(Form { local: format!("{user}+*"), subaddress: subaddress.to_owned() });
        if !channel.has("subaddresswild") {
            forms.push(Form { local: user.to_owned(), subaddress: subaddress.to_owned() });
        }
    }
    forms
}

/// The local part without quotes that it does not need to be compared.
fn unquoted(local: &str) -> String {
    let Some(inner) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return local.to_owned();
    };
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        text.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    text
}

/// The members, with the subaddress in the place of `+*`. The single address of an alias that was found without the
/// subaddress keeps it; those of a list do not.
pub(super) fn members(alias: &Alias, subaddress: &str) -> Vec<Address> {
    let alone = alias.members.len() == 1 && !alias.is_list;
    let with_subaddress = |address: &Address| {
        let mut address = address.clone();
        if let Some(user) = address.local.strip_suffix("+*") {
            address.local = quoted_if_need_be(format!("{user}{subaddress}"), subaddress);
        } else if alone && !subaddress.is_empty() && !address.local.contains(['+', '"', '%', '!']) {
            address.local = quoted_if_need_be(format!("{}{subaddress}", address.local), subaddress);
        }
        address
    };
    alias.members.iter().map(|member| with_subaddress(&member.address)).collect()
}

/// The local part with a subaddress in it. What a stranger wrote in quotes stays in quotes: otherwise a `%` or `!` in it
/// would become a host, and the alias a relay.
fn quoted_if_need_be(local: String, subaddress: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "+-_.=".contains(c);
    if subaddress.chars().all(plain) {
        return local;
    }
    format!("\"{}\"", local.replace('\\', "\\\\").replace('"', "\\\""))
}
