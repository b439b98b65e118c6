//! Aliases: an envelope recipient becomes the recipients that it stands for.
//!
//! After the PMDF System Manager's Guide, chapter 3 ("Aliases"). An address is looked up when its rewriting ended on the
//! local channel or on one with `aliaslocal`, and also when it has no host at all. The alias database is asked before
//! the alias file. What is found is rewritten and looked up again.
//!
//! # Invariants
//! Expansion ends: an alias that is reached from itself is a plain mailbox there, aliases point to aliases at most
//! `MAX_ALIAS_LEVELS` deep, and no address stands for more than [`EXPANSION_MAX`]. Nobody is in the result twice.
//! # Failure
//! A sender who may not use a list, and an address none of whose members goes anywhere, are a [`Rejected`]. A single
//! member that goes nowhere is left out and named in [`Expansion::lost`]; the caller tells the operator.
//! # Not here
//! Reading the alias file (`config`), queueing.

mod forms;
mod loops;
mod postmaster;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use sluice_config::{Alias, Channel};
use sluice_diag::Diagnostic;
use sluice_mail::{Address, Status};

use crate::codes;
use crate::glob::Glob;
use crate::lookups::{Lookups, RoutineWatch};
use crate::mapping::{self, Flags};
use crate::place;
use crate::rejected::Rejected;
use crate::rewriter::{Context, Kind, Rewriter, Route};

use forms::{forms, members};

/// Most addresses that one alias may stand for, and most that are looked at to find them.
pub const EXPANSION_MAX: usize = 100_000;

/// What a sender is told who may not use a list that has no text of its own.
pub const NOT_ALLOWED_TEXT: &str = "you are not allowed to use this list";

/// What is said of an address that only an alias may lead to (`viaaliasrequired`).
const NO_ALIAS_TEXT: &str = "unknown or illegal alias";

/// Members that go nowhere that are reported: a host that lost its rule may have thousands, and each of them is tried
/// from every channel.
const NOWHERE_REPORTED_MAX: usize = 100;

const ALIAS_DATABASE: &str = "alias";

/// Whom an address stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expansion {
    /// The recipients in the order in which they were found, none of them twice.
    pub recipients: Vec<Expanded>,
    /// At least one alias was found on the way.
    pub is_alias: bool,
    /// Members that go nowhere, and why.
    pub lost: Vec<(String, Rejected)>,
}

/// One recipient of an expansion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expanded {
    /// Where it goes.
    pub route: Route,
    /// The reverse-path of its copy, where a list has one of its own. A null reverse-path is never replaced.
    pub sender: Option<String>,
    /// Its copy waits for an operator (`[HOLD_LIST]`).
    pub held: bool,
    /// Most octets of a message for it, where a list on the way has a limit (`[BLOCKLIMIT]`).
    pub size_max: Option<u64>,
    /// Most lines of a message for it (`[LINELIMIT]`).
    pub lines_max: Option<u32>,
}

/// What happened to an address and its aliases, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AliasStep {
    /// An address was rewritten.
    Rewritten {
        /// Depth: 0 for the address that was asked for.
        depth: usize,
        /// The address.
        input: String,
        /// After rewriting.
        address: String,
        /// Its channel.
        channel: String,
    },
    /// A name is an alias.
    Found {
        /// Depth of the address.
        depth: usize,
        /// The name by which it was found.
        name: String,
        /// It stands in the database, not in the file.
        database: bool,
        /// What it stands for.
        members: Vec<String>,
    },
    /// The name is an alias that is being expanded already: here it is a mailbox.
    Loop {
        /// Depth of the address.
        depth: usize,
        /// The name.
        name: String,
    },
    /// The postmaster of a host of ours is our own one (`aliaspostmaster`).
    Postmaster {
        /// Depth of the address.
        depth: usize,
        /// The address that mail for it goes to.
        address: String,
    },
    /// It is a recipient already.
    Twice {
        /// Depth of the address.
        depth: usize,
        /// The address.
        address: String,
    },
    /// It goes nowhere, or may not be used.
    Refused {
        /// Depth of the address.
        depth: usize,
        /// The address.
        address: String,
        /// Why.
        text: String,
    },
}

impl fmt::Display for AliasStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let depth = match self {
            AliasStep::Rewritten { depth, .. }
            | AliasStep::Found { depth, .. }
            | AliasStep::Loop { depth, .. }
            | AliasStep::Postmaster { depth, .. }
            | AliasStep::Twice { depth, .. }
            | AliasStep::Refused { depth, .. } => *depth,
        };
        write!(f, "{:width$}", "", width = depth * 2)?;
        match self {
            AliasStep::Rewritten { input, address, channel, .. } => {
                write!(f, "{input} rewrites to {address} on channel {channel}")
            }
            AliasStep::Found { name, database, members, .. } => {
                let place = if *database { "the alias database" } else { "the alias file" };
                write!(f, "{name} is in {place}: {}", members.join(", "))
            }
            AliasStep::Loop { name, .. } => {
                write!(f, "{name} leads to itself: here it is a mailbox")
            }
            AliasStep::Postmaster { address, .. } => write!(f, "the postmaster there is {address}"),
            AliasStep::Twice { address, .. } => write!(f, "{address} is a recipient already"),
            AliasStep::Refused { address, text, .. } => write!(f, "{address} is refused: {text}"),
        }
    }
}

impl Expanded {
    /// Narrows its limits to those of another.
    pub(crate) fn limit(&mut self, size_max: Option<u64>, lines_max: Option<u32>) {
        self.size_max = narrower(self.size_max, size_max);
        self.lines_max = narrower(self.lines_max, lines_max);
    }
}

/// The smaller of two limits; none is no limit.
fn narrower<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl Rewriter {
    /// The recipients that an envelope recipient stands for: itself, unless it is an alias.
    ///
    /// `sender` is the reverse-path, empty for the null one; lists may ask who it is. `context` is that of the recipient.
    ///
    /// # Errors
    /// As [`Rewriter::route`]; also when the sender may not use an alias, and when nobody is left.
    pub fn expand(
        &self,
        address: &Address,
        sender: &str,
        context: &Context<'_>,
        trace: Option<&mut Vec<AliasStep>>,
    ) -> Result<Expansion, Rejected> {
        self.expand_as(address, sender, context, false, trace)
    }

    /// As [`Rewriter::expand`], for mail that a channel such as `reprocess` brings in again: rules with `$1M` apply to it,
    /// and those with `$1N` do not, although it appears to come from the channel that it first came in by.
    ///
    /// # Errors
    /// As [`Rewriter::expand`].
    pub fn expand_again(
        &self,
        address: &Address,
        sender: &str,
        context: &Context<'_>,
    ) -> Result<Expansion, Rejected> {
        self.expand_as(address, sender, context, true, None)
    }

    fn expand_as(
        &self,
        address: &Address,
        sender: &str,
        context: &Context<'_>,
        again: bool,
        trace: Option<&mut Vec<AliasStep>>,
    ) -> Result<Expansion, Rejected> {
        let mut walk = Walk::new(self, context, again, sender, trace);
        let unanswered = self.lookups.unanswered();
        let result = walk.visit(address, &Copy::default());
        if self.lookups.unanswered() != unanswered {
            // A list must not lose the members that could not be looked at, nor let in whom its tables keep out.
            return Err(Rejected::unavailable());
        }
        result?;
        let found = walk.found;
        match (found.recipients.is_empty(), found.lost.first()) {
            (true, Some((_, rejected))) => Err(rejected.clone()),
            _ => Ok(found),
        }
    }
}

/// Addresses in the alias file that are refused whichever channel the mail comes from. Nothing is said of one that a
/// routine would have to route: there are none yet while rules are compiled.
pub(crate) fn check(rewriter: &mut Rewriter) -> Vec<Diagnostic> {
    let watch = Arc::new(RoutineWatch::new(Arc::clone(rewriter.config())));
    let lookups = std::mem::replace(&mut rewriter.lookups, Arc::clone(&watch) as Arc<dyn Lookups>);
    let found = nowhere(rewriter, &watch);
    rewriter.lookups = lookups;
    found
}

fn nowhere(rewriter: &Rewriter, watch: &RoutineWatch) -> Vec<Diagnostic> {
    let config = rewriter.config();
    let goes = |address: &Address, source_channel: &str| {
        let context = Context { kind: Kind::EnvelopeTo, source_channel, destination_channel: None };
        rewriter.route(address, &context, None).map(|_| ())
    };
    let mut found = loops::check(rewriter);
    found.extend(postmaster::check(rewriter, watch));
    for alias in config.aliases.iter() {
        for table in alias.tables().filter(|table| !rewriter.mappings().has(table)) {
            found.extend(alias.span.map(|span| mapping::no_such_table(&config.mappings, table, span)));
        }
        for member in &alias.members {
            watch.forget();
            let Err(rejected) = goes(&member.address, &config.channels.local().name) else { continue };
            if config.channels.iter().any(|channel| goes(&member.address, &channel.name).is_ok())
                || watch.has_seen()
            {
                continue;
            }
            let message =
                format!("`{}` of the alias `{}` goes nowhere: {}", member.address, alias.name, rejected.text);
            let mut remark = Diagnostic::new(&codes::ALIAS_NOWHERE, message);
            remark.span = member.span;
            found.push(remark.help("correct the address, or write a rewrite rule for its host"));
            if found.len() == NOWHERE_REPORTED_MAX {
                return found;
            }
        }
    }
    found
}

/// The postmaster of the channel's official host, in whatever case (PMDF System Manager's Guide, "aliaspostmaster").
fn is_postmaster_of(channel: &Channel, address: &Address) -> bool {
    let host = address.host.as_deref().unwrap_or_default();
    channel.settings.alias_postmaster
        && address.route.is_empty()
        && address.local.eq_ignore_ascii_case("postmaster")
        && host.eq_ignore_ascii_case(&channel.official_host)
}

/// What the lists on the way have decided about a copy.
#[derive(Clone, Default)]
struct Copy {
    sender: Option<String>,
    held: bool,
    size_max: Option<u64>,
    lines_max: Option<u32>,
}

struct Walk<'r, 'c, 't> {
    rewriter: &'r Rewriter,
    context: &'c Context<'c>,
    /// The mail comes in again.
    again: bool,
    sender: &'c str,
    /// Names of the aliases that are being expanded, the outermost first.
    open: Vec<String>,
    seen: HashSet<(String, String)>,
    looked_at: usize,
    /// `aliaspostmaster` has led here, and leads no further.
    is_postmaster: bool,
    found: Expansion,
    trace: Option<&'t mut Vec<AliasStep>>,
}

/// An alias that was found, and by which name.
struct Found {
    name: String,
    alias: Alias,
    database: bool,
    /// The subaddress, with its `+`, of an address that was found without it.
    subaddress: String,
}

impl<'r, 'c, 't> Walk<'r, 'c, 't> {
    fn new(
        rewriter: &'r Rewriter,
        context: &'c Context<'c>,
        again: bool,
        sender: &'c str,
        trace: Option<&'t mut Vec<AliasStep>>,
    ) -> Self {
        Walk {
            rewriter,
            context,
            again,
            sender,
            open: Vec::new(),
            seen: HashSet::new(),
            looked_at: 0,
            is_postmaster: false,
            found: Expansion::default(),
            trace,
        }
    }

    /// The alias of the file that an address is, whoever sends to it.
    fn alias_named(&self, address: &Address) -> Option<String> {
        let channels = &self.rewriter.config().channels;
        let local = channels.local();
        let bare = address.route.is_empty() && place::first_host(address, false).is_none();
        let (address, channel) = if bare && !address.local.is_empty() {
            (Address { host: Some(local.official_host.clone()), ..address.clone() }, local)
        } else {
            let route = self.rewriter.route_as(address, self.context, false, None).ok()?;
            let channel = channels.by_name(&route.channel)?;
            let looked_up = channel.name == local.name || channel.settings.alias_local;
            (looked_up && route.address.route.is_empty()).then_some((route.address, channel))?
        };
        let found = self.look_up(&address, channel)?;
        (!found.database).then_some(found.name)
    }

    fn step(&mut self, step: impl FnOnce(usize) -> AliasStep) {
        let depth = self.open.len();
        if let Some(trace) = &mut self.trace {
            trace.push(step(depth));
        }
    }

    /// Takes one address: expands it, or notes it as a recipient.
    fn visit(&mut self, address: &Address, copy: &Copy) -> Result<(), Rejected> {
        self.looked_at += 1;
        if self.looked_at > EXPANSION_MAX {
            return Err(rejected("the alias stands for too many addresses", Status::new(5, 5, 3)));
        }
        // An address without host is first taken for an alias.
        let bare = address.route.is_empty() && place::first_host(address, false).is_none();
        if bare && !address.local.is_empty() {
            let local = self.rewriter.config().channels.local();
            let named = Address { host: Some(local.official_host.clone()), ..address.clone() };
            if let Some(found) = self.look_up(&named, local)
                && !self.open.contains(&found.name)
            {
                return self.alias(found, &named, copy);
            }
        }
        let route = match self.rewriter.route_as(address, self.context, self.again, None) {
            Ok(route) => route,
            Err(rejected) => return self.refuse(address, rejected),
        };
        self.step(|depth| AliasStep::Rewritten {
            depth,
            input: address.to_string(),
            address: route.address.to_string(),
            channel: route.channel.clone(),
        });
        let channels = &self.rewriter.config().channels;
        let local = channels.local();
        let channel = channels.by_name(&route.channel).unwrap_or(local);
        if self.again && is_own_domain(channel, &route.address) {
            let host = Some(local.official_host.clone());
            return self.visit(&Address { route: Vec::new(), host, ..route.address }, copy);
        }
        if (channel.name == local.name || channel.settings.alias_local) && route.address.route.is_empty() {
            let rewritten = route.address.clone();
            if let Some(found) = self.look_up(&rewritten, channel) {
                if !self.open.contains(&found.name) {
                    return self.alias(found, &rewritten, copy);
                }
                self.step(|depth| AliasStep::Loop { depth, name: found.name });
            }
        }
        if !self.is_postmaster && is_postmaster_of(channel, &route.address) {
            let ours = Address {
                route: Vec::new(),
                local: "postmaster".to_owned(),
                host: Some(local.official_host.clone()),
            };
            self.step(|depth| AliasStep::Postmaster { depth, address: ours.to_string() });
            self.found.is_alias = true;
            self.is_postmaster = true;
            let result = self.visit(&ours, copy);
            self.is_postmaster = false;
            return result;
        }
        if channel.settings.via_alias_required && self.open.is_empty() {
            let written = self.rewriter.config().options.unknown_alias_text.as_deref();
            return self.refuse(address, rejected(written.unwrap_or(NO_ALIAS_TEXT), Status::NO_SUCH_USER));
        }
        self.recipient(route, copy);
        Ok(())
    }

    fn recipient(&mut self, route: Route, copy: &Copy) {
        let found = route.final_address();
        // Letter case counts in the local part and nowhere else.
        let hosts = found.route.iter().chain(&found.host).map(|host| host.to_lowercase()).collect::<Vec<_>>();
        let key = format!("{}@{}", found.local, hosts.join("@"));
        if !self.seen.insert((route.channel.clone(), key)) {
            let address = found.to_string();
            self.step(|depth| AliasStep::Twice { depth, address });
            return;
        }
        let Copy { sender, held, size_max, lines_max } = copy.clone();
        self.found.recipients.push(Expanded { route, sender, held, size_max, lines_max });
    }

    fn refuse(&mut self, address: &Address, rejected: Rejected) -> Result<(), Rejected> {
        let text = rejected.text.clone();
        self.step(|depth| AliasStep::Refused { depth, address: address.to_string(), text });
        if self.open.is_empty() {
            return Err(rejected);
        }
        self.found.lost.push((address.to_string(), rejected));
        Ok(())
    }

    fn alias(&mut self, found: Found, address: &Address, copy: &Copy) -> Result<(), Rejected> {
        let Found { name, alias, database, subaddress } = found;
        // What others than moderators send goes to the moderator as it is, to be sent on or not.
        let moderator = alias.moderator.as_ref().filter(|moderator| !self.is_moderator(&alias, moderator));
        let moderator = moderator.cloned();
        let members =
            moderator.clone().map_or_else(|| members(&alias, &subaddress), |moderator| vec![moderator]);
        self.step(|depth| AliasStep::Found {
            depth,
            name: alias.name.clone(),
            database,
            members: members.iter().map(ToString::to_string).collect(),
        });
        if self.open.len() >= self.rewriter.config().options.max_alias_levels as usize {
            let deep = rejected("aliases point to aliases too deep", Status::new(5, 4, 6));
            return self.refuse(address, deep);
        }
        if let Some(text) = self.not_allowed(&alias) {
            return self.refuse(address, rejected(text, Status::new(5, 7, 2)));
        }
        if members.is_empty() {
            // An empty list file, or a database entry without any address.
            return self.refuse(address, rejected("the alias stands for nobody", Status::new(5, 1, 1)));
        }
        self.found.is_alias = true;
        let mut copy = copy.clone();
        copy.held |= moderator.is_none() && self.is_held(&alias);
        let block_size = self.rewriter.config().options.block_size;
        let size_max = alias.block_limit.map(|blocks| u64::from(blocks).saturating_mul(block_size));
        copy.size_max = narrower(copy.size_max, size_max);
        copy.lines_max = narrower(copy.lines_max, alias.line_limit);
        // RFC 5321 section 6.1: what came with a null reverse-path is a notice, and no notice may be sent about it.
        if let Some(sender) = alias.sender().filter(|_| !self.sender.is_empty() && moderator.is_none()) {
            copy.sender = Some(sender.to_owned());
        }
        self.open.push(name);
        let result = members.iter().try_for_each(|member| self.visit(member, &copy));
        self.open.pop();
        result
    }

    /// The text for a sender who may not use the alias.
    fn not_allowed(&self, alias: &Alias) -> Option<String> {
        let is_in = |list: &Vec<String>| self.sender_is_in(list);
        let says_yes = |table: &String| self.table_says_yes(table);
        let comes_by = |channels: &Vec<String>| self.comes_by(channels);
        let is_outside = alias.auth_list.as_ref().is_some_and(|list| !is_in(list))
            || alias.auth_mapping.as_ref().is_some_and(|table| !says_yes(table))
            || alias.auth_channels.as_ref().is_some_and(|channels| !comes_by(channels));
        let is_barred = alias.cant_list.as_ref().is_some_and(is_in)
            || alias.cant_mapping.as_ref().is_some_and(says_yes)
            || alias.cant_channels.as_ref().is_some_and(comes_by);
        (is_outside || is_barred)
            .then(|| alias.error_text.clone().unwrap_or_else(|| NOT_ALLOWED_TEXT.to_owned()))
    }

    fn is_held(&self, alias: &Alias) -> bool {
        alias.hold_list.as_ref().is_some_and(|list| self.sender_is_in(list))
            || alias.nohold_list.as_ref().is_some_and(|list| !self.sender_is_in(list))
            || alias.hold_mapping.as_ref().is_some_and(|table| self.table_says_yes(table))
            || alias.nohold_mapping.as_ref().is_some_and(|table| !self.table_says_yes(table))
    }

    fn is_moderator(&self, alias: &Alias, moderator: &Address) -> bool {
        moderator.to_string().eq_ignore_ascii_case(self.sender)
            || alias.moderator_list.as_ref().is_some_and(|list| self.sender_is_in(list))
            || alias.moderator_mapping.as_ref().is_some_and(|table| self.table_says_yes(table))
    }

    fn comes_by(&self, channels: &[String]) -> bool {
        let source = self.context.source_channel.to_lowercase();
        channels.iter().any(|channel| Glob::new(channel).matches(&source))
    }

    /// Asks a mapping table about the envelope sender. A table that does not exist never says yes.
    fn table_says_yes(&self, table: &str) -> bool {
        let answer = self.rewriter.map(table, self.sender, Flags::NONE);
        answer.is_some_and(|answer| answer.matched() && (answer.flags.has('Y') || answer.flags.has('T')))
    }

    fn sender_is_in(&self, list: &[String]) -> bool {
        let sender = self.sender.to_lowercase();
        list.iter().any(|pattern| *pattern == sender || Glob::new(pattern).matches(&sender))
    }

    /// Asks for an address in each of its forms: the database first, then the file.
    fn look_up(&self, address: &Address, channel: &Channel) -> Option<Found> {
        let config = self.rewriter.config();
        let host = address.host.as_deref().unwrap_or(&channel.official_host);
        for form in forms(address, channel) {
            let domains = config.options.alias_domains;
            let whole = (domains & 2 != 0).then(|| format!("{}@{host}", form.local));
            let local = (domains & 1 != 0).then(|| form.local.clone());
            let any = (domains & 4 != 0 && form.subaddress.is_empty()).then(|| format!("*@{host}"));
            for name in [whole, local, any].into_iter().flatten() {
                let name = name.to_lowercase();
                let subaddress = form.subaddress.clone();
                if let Some(value) = self.rewriter.lookups().database(ALIAS_DATABASE, &name) {
                    let alias = config.aliases.of_entry(&name, &value);
                    return Some(Found { name, alias, database: true, subaddress });
                }
                if let Some(alias) = config.aliases.get(&name) {
                    return Some(Found { name, alias: alias.clone(), database: false, subaddress });
                }
            }
        }
        None
    }
}

/// Is it at a domain that stands for a channel which brings mail in again, such as `process.hub.example`? What such a channel
/// brings in for its own domain is for the local channel (PMDF System Manager's Guide, "Processing and Reprocessing
/// Channels"): lists are expanded later so, `staff: stafflist@process`.
fn is_own_domain(channel: &Channel, address: &Address) -> bool {
    let Some(host) = &address.host else { return false };
    let labels = host.get(..channel.name.len()).filter(|head| head.eq_ignore_ascii_case(&channel.name));
    let named =
        labels.is_some_and(|head| host[head.len()..].is_empty() || host[head.len()..].starts_with('.'));
    channel.plugin.as_deref() == Some("reprocess")
        && address.route.is_empty()
        && (named || channel.hosts.iter().any(|other| other.name.eq_ignore_ascii_case(host)))
}

fn rejected(text: impl Into<String>, status: Status) -> Rejected {
    Rejected::new(text, status)
}
