//! `sluice test rewrite`: where an address goes, and why.

use serde_json::json;
use sluice_diag::Sources;
use sluice_mail::Address;
use sluice_rewrite::{Context, Kind as RewriteKind, Rewriter, Route, Trace};

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
    /// The fields of PMDF's rewriting test, for the text form.
    fields: Vec<(&'static str, String)>,
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
        fields: Vec::new(),
        trace: Vec::new(),
    };
    // Copied from a header or a log, an address often still has its brackets, and a name in front.
    let (name, bare) = match input.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
        Some((name, bare)) => (name.trim().trim_matches('"'), bare),
        None => ("", input),
    };
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
            tested.fields = fields(test, rewriter, &address, name, &route);
            tested.address = Some(route.address.to_string());
            // What is no envelope recipient is written in the manner of the channel that its copy goes to, if one is named.
            let seen = (kind != RewriteKind::EnvelopeTo && context.destination_channel.is_some())
                .then(|| rewriter.seen_in_copy(&address, &context, None).address);
            tested.final_address = Some(seen.as_ref().unwrap_or(route.final_address()).to_string());
            tested.host = Some(route.host().to_owned());
            tested.channel = Some(route.channel);
        }
        Err(rejected) => tested.error = Some(rejected.text),
    }
    tested.trace = trace.lines(sources);
    tested
}

/// What `test -rewrite` shows of an address that has a channel, with its names (PMDF System Manager's Guide, chapters 29
/// and 30; Messaging Server Administration Reference, `imsimta test`).
fn fields(
    test: &TestRewrite,
    rewriter: &Rewriter,
    address: &Address,
    name: &str,
    route: &Route,
) -> Vec<(&'static str, String)> {
    let destination = Some(route.channel.as_str());
    let rewritten = |kind: RewriteKind| {
        let context =
            Context { kind, source_channel: &test.source_channel, destination_channel: destination };
        rewriter.route(address, &context, None)
    };
    // As the copy for the forward channel has it; an address that no rule knows stays as it is there.
    let shown = |kind| {
        let context =
            Context { kind, source_channel: &test.source_channel, destination_channel: destination };
        rewriter.seen_in_copy(address, &context, None).address.to_string()
    };
    let mut fields = Vec::new();
    fields.push(("forward channel", route.channel.clone()));
    if let Some(channel) = rewriter.config().channels.by_name(&route.channel) {
        fields.push(("channel description", channel.description.clone().unwrap_or_default()));
        let flags = channel.keywords.iter().map(|keyword| {
            let value = keyword.value();
            let name = keyword.name().to_uppercase();
            if value.is_empty() { name } else { format!("{name} {value}") }
        });
        fields.push(("channel flags", flags.collect::<Vec<_>>().join(", ")));
        fields.push(("channel rightslist ids", channel.groups.join(" ")));
    }
    let backward = rewritten(RewriteKind::EnvelopeFrom);
    fields.push((
        "backward channel",
        backward.map_or_else(|no| format!("none: {}", no.text), |way| way.channel),
    ));
    fields.push(("header To", shown(RewriteKind::HeaderTo)));
    fields.push(("header From", shown(RewriteKind::HeaderFrom)));
    let system = &route.routing_system;
    fields.push(("envelope To", format!("{} (route ({system},{system}))", route.final_address())));
    fields.push(("envelope From", shown(RewriteKind::EnvelopeFrom)));
    fields.push(("name", name.to_owned()));
    fields.push(("mbox", route.final_address().local.clone()));
    let sender = test.sender.as_deref().unwrap_or("postmaster");
    let context = Context {
        kind: RewriteKind::EnvelopeTo,
        source_channel: &test.source_channel,
        destination_channel: None,
    };
    if test.kind == Kind::EnvelopeTo {
        match rewriter.expand(address, sender, &context, None) {
            Ok(expansion) => {
                for recipient in &expansion.recipients {
                    let (to, channel) = (recipient.route.final_address(), &recipient.route.channel);
                    fields.push(("expanded address", format!("{to}, channel {channel}")));
                }
            }
            Err(no) => fields.push(("expanded address", format!("none: {}", no.text))),
        }
    }
    fields
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
        for (name, value) in &self.fields {
            text.push_str(format!("  {name:<23}= {value}").trim_end());
            text.push('\n');
        }
        for step in &self.trace {
            text.push_str(&format!("    {step}\n"));
        }
        text.trim_end().to_owned()
    }
}
