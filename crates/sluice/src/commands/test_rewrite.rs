//! `sluice test rewrite`: where an address goes, and why.

use serde_json::json;
use sluice_diag::Sources;
use sluice_mail::Address;
use sluice_rewrite::{Context, Kind as RewriteKind, Rewriter, Trace};

use crate::cli::{Format, Kind, TestRewrite};
use crate::exit::{Exit, Failure};
use crate::{load, output};

/// What is shown of one address.
struct Tested {
    input: String,
    kind: &'static str,
    address: Option<String>,
    final_address: Option<String>,
    channel: Option<String>,
    host: Option<String>,
    error: Option<String>,
    trace: Vec<String>,
}

/// Rewrites each address in turn; one that cannot be routed does not keep the others from being shown.
pub(crate) fn test_rewrite(test: &TestRewrite) -> Result<Exit, Failure> {
    let (loaded, sources) = load::read_with(&test.common.config, &test.instead)?;
    for channel in std::iter::once(&test.source_channel).chain(&test.destination_channel) {
        load::complain_of_channel(&loaded.config, channel);
    }
    for input in &test.addresses {
        let tested = tested(test, &loaded.rewriter, &sources, input);
        match test.common.format {
            Format::Json => output::line(&tested.json().to_string())?,
            Format::Text => output::line(&tested.text())?,
        }
    }
    Ok(Exit::Ok)
}

fn tested(test: &TestRewrite, rewriter: &Rewriter, sources: &Sources, input: &str) -> Tested {
    let kind = match test.kind {
        Kind::EnvelopeTo => RewriteKind::EnvelopeTo,
        Kind::EnvelopeFrom => RewriteKind::EnvelopeFrom,
        Kind::HeaderTo => RewriteKind::HeaderTo,
        Kind::HeaderFrom => RewriteKind::HeaderFrom,
    };
    let mut tested = Tested {
        input: input.to_owned(),
        kind: kind.name(),
        address: None,
        final_address: None,
        channel: None,
        host: None,
        error: None,
        trace: Vec::new(),
    };
    // Copied from a header or a log, an address often still has its brackets.
    let bare = input.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(input);
    let address = match Address::parse(bare) {
        Ok(address) => address,
        Err(error) => {
            tested.error = Some(error.to_string());
            return tested;
        }
    };
    let context = Context {
        kind,
        source_channel: &test.source_channel,
        destination_channel: test.destination_channel.as_deref(),
    };
    let mut trace = Trace::default();
    match rewriter.route(&address, &context, Some(&mut trace)) {
        Ok(route) => {
            tested.address = Some(route.address.to_string());
            tested.final_address = Some(route.final_address.to_string());
            tested.channel = Some(route.channel);
            tested.host = Some(route.host);
        }
        Err(rejected) => tested.error = Some(rejected.text),
    }
    tested.trace = trace.lines(sources);
    tested
}

impl Tested {
    fn json(&self) -> serde_json::Value {
        json!({
            "input": self.input,
            "kind": self.kind,
            "address": self.address,
            "final_address": self.final_address,
            "channel": self.channel,
            "host": self.host,
            "error": self.error,
            "trace": self.trace,
        })
    }

    fn text(&self) -> String {
        let mut text = format!("{}\n", self.input);
        for (name, value) in [
            ("address", &self.address),
            ("final address", &self.final_address),
            ("channel", &self.channel),
            ("host", &self.host),
            ("error", &self.error),
        ] {
            if let Some(value) = value {
                text.push_str(&format!("  {name:<14}= {value}\n"));
            }
        }
        for step in &self.trace {
            text.push_str(&format!("    {step}\n"));
        }
        text.trim_end().to_owned()
    }
}
