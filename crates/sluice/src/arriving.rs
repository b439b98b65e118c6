//! A message on its way from a session into the spool: its header as each copy is to have it, its envelopes, and a draft
//! for each that must be stored by itself.
//!
//! The destination channels are known before the content begins, and the header comes before the body. So the header is read
//! once, when the first octets are here; each channel that gets a copy has its addresses rewritten, and copies with equal
//! headers share a draft. A message that no rule changes is stored once, and handed on as it came.
//!
//! Envelope senders are rewritten here too, for each channel by itself: a copy with another reverse-path is another envelope.
//!
//! # Not here
//! What becomes of one header or address (`rewrite`), and how octets get onto the disk (`spool`).

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sluice_config::{Channel, Copies, EnvelopeToField};
use sluice_dispatch::{Draft, Loaded};
use sluice_mail::{Address, Envelope, Refusal, Status, header};
use sluice_rewrite::header::{
    EnvelopeTo, Finish, HeaderAddresses, HeaderEdits, MissingRecipients, authenticated_sender,
    enclosed_headers, has_recipients, missing_recipients,
};
use sluice_rewrite::{Context, Kind};
use sluice_smtpd::{Done, Incoming, Origin, Parcel, Session, Transaction};

use crate::hub::Hub;
use crate::lookups;
use crate::notices::{Head, News};
use gather::Gather;

mod copies;
mod gather;

/// Time for the header of one message. What has not been rewritten by then stays as it is. Rewriting takes microseconds; only
/// thousands of addresses and tables of a thousand entries together come near this.
const HEADER_TIME_MAX: Duration = Duration::from_secs(1);

/// A message while its content arrives.
pub(crate) struct Arriving {
    hub: Arc<Hub>,
    loaded: Arc<Loaded>,
    id: String,
    source_channel: String,
    /// The reverse-path of the client.
    sender: String,
    /// The client's name, for bare addresses; none for what does not come from a client.
    client: Option<String>,
    /// The address of the client's login, where the source channel puts it into headers.
    login: Option<String>,
    /// It has come in before, and what is done to headers of its source channel has been done.
    again: bool,
    /// The channel that brings it in, where it does not come from a client.
    brought_by: Option<String>,
    copies: Vec<Copy>,
    /// The recipients as the client gave them, where the source channel puts them into a header that has none.
    given: Vec<String>,
    /// Headers that differ; empty until the header is here.
    variants: Vec<Variant>,
    /// Length of what variants stand for: the header as it came, and with it the body as far as enclosed headers go.
    prefix_length: usize,
    /// What is against the message, by its header.
    refusal: Option<Refusal>,
    /// Drafts that have been begun, with the number of their variant.
    drafts: Vec<(usize, Draft)>,
    /// For notices about recipients who do not get it.
    head: Option<Head>,
    /// Octets of it have been handed on.
    is_begun: bool,
}

/// One kind of copy: those for a channel under one reverse-path.
struct Copy {
    channel: String,
    /// The reverse-path, if it is not that of the client.
    own_sender: Option<String>,
    held: bool,
    /// The reverse-path as the channel gets it.
    sender: String,
    /// Its recipients, where the channel tells them in the header.
    recipients: Vec<String>,
    /// Number of its header.
    variant: usize,
}

impl Copy {
    /// Whether this recipient is one of it.
    fn has(&self, channel: &str, recipient: &str) -> bool {
        self.channel == channel
            && (self.recipients.is_empty() || self.recipients.iter().any(|one| one == recipient))
    }
}

/// The header of an enclosed message.
struct Enclosed {
    place: Range<usize>,
    addresses: HeaderAddresses,
}

/// A header in the form of some copies, with the body as far as enclosed headers go; `None` is what came.
#[derive(PartialEq, Eq)]
struct Variant(Option<Vec<u8>>);

impl Arriving {
    /// The message of this transaction.
    pub(crate) fn new(hub: &Arc<Hub>, session: &Session, transaction: &Transaction) -> Arriving {
        Arriving::with_draft(hub, session, transaction, hub.dispatcher().draft())
    }

    /// The same with a draft of which nothing has been used, and whose id is the message's.
    pub(crate) fn with_draft(
        hub: &Arc<Hub>,
        session: &Session,
        transaction: &Transaction,
        draft: Draft,
    ) -> Arriving {
        let loaded = hub.loaded();
        let channels = &loaded.config.channels;
        let mut copies: Vec<Copy> = Vec::new();
        for accepted in transaction.recipients.iter().filter(|accepted| accepted.refused.is_none()) {
            let recipient = &accepted.recipient;
            let settings = channels.by_name(&recipient.channel).map(|channel| &channel.settings);
            let tells = settings.is_some_and(|one| one.envelope_to_field == EnvelopeToField::Write);
            let single = tells && settings.is_some_and(|one| one.copies == Copies::Single);
            let known = copies.iter_mut().find(|copy| {
                copy.channel == recipient.channel
                    && (!single || copy.recipients.contains(&recipient.address))
                    && copy.own_sender == accepted.sender
                    && copy.held == accepted.held
            });
            let copy = match known {
                Some(copy) => copy,
                None => {
                    copies.push(Copy {
                        channel: recipient.channel.clone(),
                        own_sender: accepted.sender.clone(),
                        held: accepted.held,
                        sender: String::new(),
                        recipients: Vec::new(),
                        variant: 0,
                    });
                    let last = copies.len() - 1;
                    &mut copies[last]
                }
            };
            if tells && !copy.recipients.contains(&recipient.address) {
                copy.recipients.push(recipient.address.clone());
            }
        }
        let mut given = Vec::new();
        if policy(&loaded, &session.admission.source_channel) > 1 {
            for accepted in &transaction.recipients {
                if !given.contains(&accepted.recipient.original) {
                    given.push(accepted.recipient.original.clone());
                }
            }
        }
        let mut arriving = Arriving {
            hub: Arc::clone(hub),
            id: draft.id().to_string(),
            source_channel: session.admission.source_channel.clone(),
            sender: transaction.sender.clone(),
            client: (session.origin == Origin::Client).then(|| name_of_client(session)),
            login: login_address(&loaded, session),
            again: session.origin == Origin::Again,
            brought_by: (session.origin != Origin::Client).then(|| session.connection.channel.to_string()),
            loaded,
            copies,
            given,
            variants: Vec::new(),
            prefix_length: 0,
            refusal: None,
            drafts: vec![(0, draft)],
            head: Head::of(transaction),
            is_begun: false,
        };
        let unanswered = arriving.loaded.rewriter.lookups().unanswered();
        for index in 0..arriving.copies.len() {
            let copy = &arriving.copies[index];
            let own = copy.own_sender.as_deref().unwrap_or(&arriving.sender);
            let alike = |other: &&Copy| other.channel == copy.channel && other.own_sender == copy.own_sender;
            let sender = match arriving.copies[..index].iter().find(alike) {
                Some(known) => known.sender.clone(),
                None => arriving.sender_for(own, &copy.channel),
            };
            arriving.copies[index].sender = sender;
        }
        arriving.void_unless_answered(unanswered);
        arriving
    }

    /// The draft of a message of which nothing has come, for another with its id.
    pub(crate) fn into_draft(mut self) -> Draft {
        match self.drafts.pop() {
            Some((_, draft)) => draft,
            None => self.hub.dispatcher().draft(),
        }
    }

    /// Refuses the message for now if a database could not be asked since there were so many unanswered look-ups: it would go
    /// on with addresses that the world is not to see.
    fn void_unless_answered(&mut self, unanswered: u64) {
        if self.loaded.rewriter.lookups().unanswered() != unanswered {
            self.refusal = Some(lookups::unavailable());
        }
    }

    /// A reverse-path as it goes to a channel. One that no rule knows is kept: mail from strangers must not depend on our
    /// rules for their domains.
    fn sender_for(&self, sender: &str, channel: &str) -> String {
        let Ok(address) = Address::parse(sender) else { return sender.to_owned() };
        let context = Context {
            kind: Kind::EnvelopeFrom,
            source_channel: &self.source_channel,
            destination_channel: Some(channel),
        };
        let seen = self.loaded.rewriter.seen_in_copy(&address, &context, self.client.as_deref());
        if let Some(text) = seen.bad_reversal {
            tracing::error!(%sender, reversed = %text, "address reversal gives something that is no address; it is not used");
        }
        seen.address.to_string()
    }

    /// Reads the header in the first octets of the message and finds out what each copy makes of it. `whole`: there are no
    /// more octets. A header that does not end in what is there is longer than any honest one; only the addresses in
    /// its beginning are rewritten.
    fn read_header(&mut self, octets: &[u8], whole: bool) {
        let end = header::end(octets).or(whole.then_some(octets.len()));
        let came = &octets[..end.unwrap_or(octets.len())];
        let inner = end.map_or_else(Vec::new, |end| self.enclosed(octets, end));
        self.prefix_length = inner.last().map_or(came.len(), |last| last.place.end);
        // Behind the header: the body as far as enclosed headers go.
        let body = &octets[came.len()..self.prefix_length];
        let loaded = Arc::clone(&self.loaded);
        let unanswered = loaded.rewriter.lookups().unanswered();
        let channels = &loaded.config.channels;
        let source = channels.by_name(&self.source_channel);
        let completed = end.filter(|_| !self.again).and_then(|_| self.completed(came, source));
        let header = completed.as_deref().unwrap_or(came);
        let field_max = source.and_then(|channel| channel.settings.max_processed_octets);
        let addresses = HeaderAddresses::read(header, field_max.map(|octets| octets as usize));
        let deadline = Instant::now() + HEADER_TIME_MAX;
        let late = || Instant::now() >= deadline;
        // Of each copy: the changes in its header and in its body.
        let mut edits: Vec<(HeaderEdits, HeaderEdits)> = Vec::with_capacity(self.copies.len());
        for index in 0..self.copies.len() {
            let copy = &self.copies[index];
            let channel = channels.by_name(&copy.channel);
            let known = self.copies[..index].iter().position(|other| other.channel == copy.channel);
            edits.push(match known {
                Some(known) => edits[known].clone(),
                None => {
                    let outer = self.edits_for(&copy.channel, header, &addresses, &late);
                    let mut in_body = HeaderEdits::default();
                    if channel.is_some_and(|channel| channel.settings.inner_headers) {
                        for Enclosed { place, addresses } in &inner {
                            let found =
                                self.edits_for(&copy.channel, &octets[place.clone()], addresses, &late);
                            in_body.append(found, place.start - came.len());
                        }
                    }
                    (outer, in_body)
                }
            });
            let (outer, in_body) = &edits[index];
            let finish = match (end, channel) {
                (Some(_), Some(channel)) => copy.finish(channel),
                _ => Finish::default(),
            };
            let variant = if outer.is_empty() && in_body.is_empty() && finish.is_idle() && completed.is_none()
            {
                None
            } else {
                let room = header.len() + outer.growth() + body.len() + in_body.growth();
                let mut changed = Vec::with_capacity(room);
                outer.apply(header, &mut changed);
                if !finish.is_idle() {
                    changed = finish.apply(&changed);
                }
                in_body.apply(body, &mut changed);
                Some(changed)
            };
            let variant = Variant(variant.filter(|prefix| prefix[..] != octets[..self.prefix_length]));
            let known = self.variants.iter().position(|other| *other == variant);
            self.copies[index].variant = known.unwrap_or_else(|| {
                self.variants.push(variant);
                self.variants.len() - 1
            });
        }
        if self.variants.is_empty() {
            self.variants.push(Variant(None));
        }
        if late() {
            tracing::warn!(id = %self.id, "the header has so many addresses that some of them were not rewritten");
        }
        self.void_unless_answered(unanswered);
    }

    /// The headers of enclosed messages, where a channel of the copies wants them rewritten.
    fn enclosed(&self, octets: &[u8], header_end: usize) -> Vec<Enclosed> {
        let channels = &self.loaded.config.channels;
        let wants =
            |copy: &Copy| channels.by_name(&copy.channel).is_some_and(|one| one.settings.inner_headers);
        if !self.copies.iter().any(wants) {
            return Vec::new();
        }
        let places = enclosed_headers(octets, header_end).into_iter();
        places
            .map(|place| Enclosed { addresses: HeaderAddresses::read(&octets[place.clone()], None), place })
            .filter(|one| !one.addresses.is_empty())
            .collect()
    }

    /// The header as the source channel makes it, before anything else: its option file, and recipients where there are none.
    /// `None` is no change.
    fn completed(&mut self, came: &[u8], source: Option<&Channel>) -> Option<Vec<u8>> {
        let mut completed = None;
        if let Some(options) = source.and_then(|channel| channel.read_header_options.as_ref()) {
            // The first field is our own; the option file is for what came.
            let own = header::fields(came).next().map_or(0, |field| field.place.end);
            let read = Finish { options: Some(options), ..Finish::default() }.apply(&came[own..]);
            completed = (read != came[own..]).then(|| [&came[..own], &read].concat());
        }
        if let (Some(login), Some(source)) = (&self.login, source) {
            let header = completed.as_deref().unwrap_or(came);
            let with_sender = authenticated_sender(header, source.settings.auth_rewrite, login);
            completed = with_sender.or(completed);
        }
        let policy = policy(&self.loaded, &self.source_channel);
        if policy > 1 && !has_recipients(completed.as_deref().unwrap_or(came)) {
            match missing_recipients(policy, &self.given) {
                MissingRecipients::Pass => {}
                MissingRecipients::Add(field) => {
                    completed.get_or_insert_with(|| came.to_vec()).extend_from_slice(&field);
                }
                MissingRecipients::Refuse => {
                    let text = "the message has no To, Cc or Bcc field";
                    self.refusal = Some(Refusal::new(554, Status::new(5, 6, 0), text));
                }
            }
        }
        completed
    }

    fn edits_for(
        &self,
        channel: &str,
        header: &[u8],
        addresses: &HeaderAddresses,
        late: &dyn Fn() -> bool,
    ) -> HeaderEdits {
        if addresses.is_empty() {
            return HeaderEdits::default();
        }
        let context = Context {
            kind: Kind::HeaderTo,
            source_channel: &self.source_channel,
            destination_channel: Some(channel),
        };
        let edited =
            self.loaded.rewriter.edit_header(header, addresses, &context, self.client.as_deref(), late);
        for text in edited.bad_reversals.iter().take(3) {
            tracing::error!(id = %self.id, reversed = %text, "address reversal gives something that is no address; it is not used");
        }
        edited.edits
    }

    /// Reads the header of a message of which nothing has been handed on, and which is `whole`: what is against it is known then, and a
    /// commit with the same octets goes on from there.
    ///
    /// # Errors
    /// What is against it.
    pub(crate) fn look(&mut self, whole: &[u8]) -> Result<(), Refusal> {
        if self.variants.is_empty() {
            self.read_header(whole, true);
            self.begin_drafts();
        }
        self.refusal.clone().map_or(Ok(()), Err)
    }

    /// How many octets of headers are kept of that look.
    pub(crate) fn looked_at(&self) -> usize {
        self.variants.iter().filter_map(|variant| variant.0.as_ref()).map(Vec::len).sum()
    }

    /// The first octets of the message with the header of each variant, in their order.
    fn beginnings(&self, octets: Vec<u8>) -> Vec<Vec<u8>> {
        let rest = &octets[self.prefix_length..];
        let changed = |header: &Vec<u8>| [header.as_slice(), rest].concat();
        let mut beginnings: Vec<Vec<u8>> = self
            .variants
            .iter()
            .map(|Variant(header)| header.as_ref().map_or_else(Vec::new, changed))
            .collect();
        if let Some(plain) = self.variants.iter().position(|variant| variant.0.is_none()) {
            beginnings[plain] = octets;
        }
        beginnings
    }

    /// Begins as many drafts as copies may need: one for each header and reverse-path.
    fn begin_drafts(&mut self) {
        let mut needed: Vec<(usize, &str, Option<&str>, bool)> = self
            .copies
            .iter()
            .map(|copy| (copy.variant, copy.sender.as_str(), copy.own_sender.as_deref(), copy.held))
            .collect();
        needed.sort_unstable();
        needed.dedup();
        let needed: Vec<usize> = needed.into_iter().map(|(variant, ..)| variant).collect();
        for (index, variant) in needed.into_iter().enumerate() {
            match self.drafts.get_mut(index) {
                Some((of, _)) => *of = variant,
                None => self.drafts.push((variant, self.hub.dispatcher().draft())),
            }
        }
    }
}

impl Copy {
    /// What the channel does to the header besides its addresses.
    fn finish<'a>(&'a self, channel: &'a Channel) -> Finish<'a> {
        let settings = &channel.settings;
        Finish {
            return_path: settings.add_return_path.then_some(self.sender.as_str()),
            envelope_to: match settings.envelope_to_field {
                EnvelopeToField::Keep => EnvelopeTo::Keep,
                EnvelopeToField::Remove => EnvelopeTo::Remove,
                EnvelopeToField::Write => EnvelopeTo::Write(&self.recipients),
            },
            options: channel.header_options.as_ref(),
            max_addresses: settings.max_header_addresses,
            max_octets: settings.max_header_octets,
        }
    }
}

/// The address that a session has logged in with, where its channel has `authrewrite`: the login, at our own name if it has
/// no domain. `None` too for a login that cannot be an address.
fn login_address(loaded: &Loaded, session: &Session) -> Option<String> {
    let channels = &loaded.config.channels;
    let source = channels.by_name(&session.admission.source_channel)?;
    let login = session.login.as_ref().filter(|_| source.settings.auth_rewrite != 0)?;
    let address = match login.name.contains('@') {
        true => login.name.clone(),
        false => format!("{}@{}", login.name, channels.local().official_host),
    };
    let usable = Address::parse(&address).is_ok() && address.bytes().all(|octet| octet.is_ascii_graphic());
    usable.then_some(address)
}

/// What is done about headers without recipients in mail from a channel.
fn policy(loaded: &Loaded, source_channel: &str) -> u32 {
    let source = loaded.config.channels.by_name(source_channel);
    let own = source.and_then(|channel| channel.settings.missing_recipient_policy);
    own.unwrap_or(loaded.config.options.missing_recipient_policy)
}

impl Incoming for Arriving {
    fn id(&self) -> String {
        self.id.clone()
    }

    fn chunk(&mut self, bytes: Vec<u8>, done: Done) {
        if let Some(head) = &mut self.head {
            head.remember(&bytes);
        }
        let mut pieces = if !std::mem::replace(&mut self.is_begun, true) {
            self.read_header(&bytes, false);
            if let Some(refusal) = &self.refusal {
                return done(Err(refusal.clone()));
            }
            self.begin_drafts();
            self.beginnings(bytes)
        } else {
            vec![bytes; self.variants.len()]
        };
        let answers = Gather::new(self.drafts.len(), done);
        let mut left = vec![0usize; pieces.len()];
        for (variant, _) in &self.drafts {
            left[*variant] += 1;
        }
        for (variant, draft) in &mut self.drafts {
            left[*variant] -= 1;
            // The last draft gets the octets themselves, and mostly it is the only one.
            let piece = match left[*variant] {
                0 => std::mem::take(&mut pieces[*variant]),
                _ => pieces[*variant].clone(),
            };
            let answers = Arc::clone(&answers);
            draft.chunk(piece, move |taken| answers.take(taken.map_err(|error| error.refusal())));
        }
    }

    fn commit(mut self: Box<Self>, parcel: Parcel, done: Done) {
        let Parcel { envelopes, refused, expanded, wishes, arrived, tail } = parcel;
        let mut notices = Vec::new();
        if let Some(head) = &mut self.head {
            head.remember(&tail);
            let (hub, source) = (&self.hub, &self.source_channel);
            let news = News { sender: &self.sender, refused, expanded, wishes, arrived };
            match lookups::answered(&self.loaded, || head.notices(hub, source, news)) {
                Ok(made) => notices = made,
                Err(refusal) => return done(Err(refusal)),
            }
        }
        if envelopes.is_empty() && notices.is_empty() {
            // Discarded: by the operator's order, or because it was itself a notice for nobody.
            return done(Ok(()));
        }
        let is_begun = self.is_begun;
        let judged = if is_begun { self.refusal.clone().map_or(Ok(()), Err) } else { self.look(&tail) };
        if let Err(refusal) = judged {
            return done(Err(refusal));
        }
        let mut tails = match is_begun {
            true => vec![tail; self.variants.len()],
            false => self.beginnings(tail),
        };
        let divided = self.divided(envelopes);
        if divided.len() + notices.len() > 1 {
            let copies =
                divided.iter().map(|(_, copy)| copy).chain(notices.iter().map(|(_, notice, _)| notice));
            let copies: Vec<Envelope> = copies.cloned().collect();
            if let Err(error) = self.can_lead(&copies) {
                return done(Err(error));
            }
        }
        let mut left = vec![0usize; tails.len()];
        for (variant, _) in &divided {
            left[*variant] += 1;
        }
        let answers = Gather::new(divided.len() + notices.len(), done);
        for (draft, envelope, content) in notices {
            let answers = Arc::clone(&answers);
            self.hub.dispatcher().commit(draft, envelope, content, move |taken| {
                answers.take(taken.map(|_| ()).map_err(|error| error.refusal()));
            });
        }
        for (variant, envelope) in divided {
            left[variant] -= 1;
            let tail = match left[variant] {
                0 => std::mem::take(&mut tails[variant]),
                _ => tails[variant].clone(),
            };
            let Some(at) = self.drafts.iter().position(|(of, _)| *of == variant) else {
                tracing::error!(id = %self.id, "there are more copies than drafts; the message is not taken");
                answers.take(Err(Refusal::new(451, Status::new(4, 3, 0), "internal error, try again later")));
                continue;
            };
            let (_, mut draft) = self.drafts.remove(at);
            if let Some(channel) = &self.brought_by {
                draft = draft.brought_by(channel);
            }
            let answers = Arc::clone(&answers);
            self.hub.dispatcher().commit(draft, envelope, tail, move |taken| {
                answers.take(taken.map(|_| ()).map_err(|error| error.refusal()));
            });
        }
    }
}

/// The name that a client has given itself, or its address when that is no name of a host.
fn name_of_client(session: &Session) -> String {
    let helo = session.helo.as_str();
    let is_name =
        Address::parse(&format!("x@{helo}")).is_ok_and(|address| address.host.as_deref() == Some(helo));
    if is_name {
        return helo.to_owned();
    }
    match session.connection.peer.ip().to_canonical() {
        std::net::IpAddr::V4(address) => format!("[{address}]"),
        std::net::IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}
