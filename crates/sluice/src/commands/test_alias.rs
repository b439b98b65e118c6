//! `sluice test alias` and `sluice test expansion`: whom an address stands for.

use serde_json::{Value, json};
use sluice_mail::Address;
use sluice_rewrite::{AliasStep, Context, Expansion, Kind, Rewriter};

use crate::cli::{Format, TestAlias};
use crate::exit::{Exit, Failure};
use crate::{load, output};

/// Shows the recipients of each address.
pub(crate) fn test_alias(test: &TestAlias) -> Result<Exit, Failure> {
    run(test, Detail::Addresses)
}

/// Shows the recipients of each address, with their channels.
pub(crate) fn test_expansion(test: &TestAlias) -> Result<Exit, Failure> {
    run(test, Detail::Channels)
}

#[derive(Clone, Copy, PartialEq)]
enum Detail {
    Addresses,
    Channels,
}

fn run(test: &TestAlias, detail: Detail) -> Result<Exit, Failure> {
    let (loaded, _) = load::read_with(&test.common.config, &test.instead)?;
    load::complain_of_channel(&loaded.config, &test.source_channel);
    for input in &test.addresses {
        let mut steps = Vec::new();
        let result = expand(test, &loaded.rewriter, input, &mut steps);
        match test.common.format {
            Format::Json => output::line(&to_json(input, &result, detail).to_string())?,
            Format::Text => output::line(&to_text(input, &result, &steps, detail))?,
        }
    }
    Ok(Exit::Ok)
}

fn expand(
    test: &TestAlias,
    rewriter: &Rewriter,
    input: &str,
    steps: &mut Vec<AliasStep>,
) -> Result<Expansion, String> {
    // Copied from a header or a log, an address often still has its brackets.
    let bare = |text: &str| {
        text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(text).to_owned()
    };
    let address = Address::parse(&bare(input)).map_err(|error| error.to_string())?;
    let context =
        Context { kind: Kind::EnvelopeTo, source_channel: &test.source_channel, destination_channel: None };
    rewriter.expand(&address, &bare(&test.sender), &context, Some(steps)).map_err(|rejected| rejected.text)
}

fn to_json(input: &str, result: &Result<Expansion, String>, detail: Detail) -> Value {
    let recipients = result.as_ref().map(|expansion| expansion.recipients.as_slice()).unwrap_or_default();
    let recipients: Vec<Value> = recipients
        .iter()
        .map(|recipient| {
            let address = recipient.route.final_address().to_string();
            match detail {
                Detail::Addresses => Value::String(address),
                Detail::Channels => json!({
                    "address": address,
                    "channel": recipient.route.channel,
                    "host": recipient.route.host(),
                    "sender": recipient.sender,
                    "held": recipient.held,
                    "size_max": recipient.size_max,
                    "lines_max": recipient.lines_max,
                }),
            }
        })
        .collect();
    json!({ "input": input, "expansion": recipients, "error": result.as_ref().err() })
}

fn to_text(input: &str, result: &Result<Expansion, String>, steps: &[AliasStep], detail: Detail) -> String {
    let mut text = format!("{input}\n");
    match result {
        Ok(expansion) => {
            for recipient in &expansion.recipients {
                text.push_str(&format!("  expanded      = {}", recipient.route.final_address()));
                if detail == Detail::Channels {
                    text.push_str(&format!(
                        ", channel {}, host {}",
                        recipient.route.channel,
                        recipient.route.host()
                    ));
                }
                if let Some(sender) = &recipient.sender {
                    text.push_str(&format!(", from {sender}"));
                }
                if let Some(octets) = recipient.size_max {
                    text.push_str(&format!(", up to {octets} octets"));
                }
                if let Some(lines) = recipient.lines_max {
                    text.push_str(&format!(", up to {lines} lines"));
                }
                text.push_str(if recipient.held { ", on hold\n" } else { "\n" });
            }
            for (address, rejected) in &expansion.lost {
                text.push_str(&format!("  goes nowhere  = {address}: {}\n", rejected.text));
            }
        }
        Err(error) => text.push_str(&format!("  error         = {error}\n")),
    }
    for step in steps {
        text.push_str(&format!("    {step}\n"));
    }
    text.trim_end().to_owned()
}
