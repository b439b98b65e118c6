//! Whatever the bytes: nothing panics, and what can be read comes back as it was.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sluice_mail::notice::{Action, Notice, Report, Returned};
use sluice_mail::wire::{Unstuffer, stuff};
use sluice_mail::{
    Address, Envelope, LaterRelease, Notify, Priority, Recipient, RecipientWishes, Return, ReversedDomain,
    Status, Time, TransferPriority, Wishes, field, header, wishes,
};

fn recipient() -> impl Strategy<Value = Recipient> {
    let notify = prop::sample::select(vec![0u8, 1, 2, 4, 6, 8, 10, 12, 14]);
    (".{0,40}", ".{0,40}", ".{0,20}", ".{0,20}", notify, ".{0,9}").prop_map(
        |(address, original, channel, domain, notify, of_origin)| Recipient {
            address,
            original,
            channel,
            domain,
            wishes: RecipientWishes { notify: Notify::from_bits(notify).unwrap(), original: of_origin },
        },
    )
}

fn later() -> impl Strategy<Value = Option<LaterRelease>> {
    prop_oneof![
        Just(None),
        any::<u32>().prop_map(|secs| Some(LaterRelease::For(secs))),
        any::<u64>().prop_map(|until| Some(LaterRelease::Until(Time(until)))),
    ]
}

fn envelope() -> impl Strategy<Value = Envelope> {
    (
        ".{0,40}",
        any::<[u64; 2]>(),
        ".{0,20}",
        0u8..3,
        any::<[bool; 4]>(),
        (0u8..3, ".{0,9}", later(), 0u8..20, ".{0,9}"),
        prop::collection::vec(recipient(), 0..5),
    )
        .prop_map(
            |(
                sender,
                [arrived, until],
                source_channel,
                priority,
                [eight_bit, smtputf8, held, deferred],
                (returned, envelope_id, later, level, hold_reason),
                recipients,
            )| {
                Envelope {
                    sender,
                    arrived: Time(arrived),
                    source_channel,
                    priority: Priority::from_number(priority).unwrap(),
                    eight_bit,
                    smtputf8,
                    held,
                    hold_reason,
                    deferred_until: deferred.then_some(Time(until)),
                    wishes: Wishes {
                        returned: Return::from_number(returned).unwrap(),
                        envelope_id,
                        later,
                        priority: TransferPriority::at_level(level),
                    },
                    recipients,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn envelopes_come_back(envelope in envelope()) {
        prop_assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope));
    }

    #[test]
    fn any_bytes_are_an_envelope_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(envelope) = Envelope::decode(&bytes) {
            prop_assert_eq!(envelope.encode(), bytes);
        }
    }

    #[test]
    fn an_envelope_with_one_byte_changed_is_read_as_what_it_says(envelope in envelope(), at in any::<prop::sample::Index>(), value: u8) {
        let mut bytes = envelope.encode();
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(read) = Envelope::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }

    #[test]
    fn any_text_is_a_wish_or_none(text in r"[A-Fa-f0-9+=;\\x{}é, ]{0,30}") {
        if wishes::is_original(&text) {
            let wishes = RecipientWishes { original: text.clone(), ..RecipientWishes::default() };
            prop_assert!(wishes.decoded().is_some());
        }
        if let Some(notify) = Notify::parse(&text) {
            prop_assert_eq!(Notify::parse(&notify.to_string()), Some(notify));
        }
        prop_assert_eq!(wishes::xtext_decoded(&text).is_some(), wishes::is_envelope_id(&text) || text.is_empty());
    }

    #[test]
    fn any_field_is_read_in_places_that_are_in_order(
        body in r#"([ab@.,:;<>()"\\\[\] %!é]|\r\n |\x00){0,40}"#,
    ) {
        let mut behind = 0;
        for one in field::addresses(body.as_bytes()).unwrap_or_default() {
            prop_assert!(behind <= one.place.start && one.place.end <= body.len(), "{one:?}");
            behind = one.place.end;
            let same = one.replacement(body.as_bytes(), &one.address);
            prop_assert!(one.place.start <= same.place.start && same.place.end <= one.place.end);
            // What takes the place of an address is read as that address.
            let mut changed = body.as_bytes()[..same.place.start].to_vec();
            changed.extend_from_slice(&same.text);
            changed.extend_from_slice(&body.as_bytes()[same.place.end..]);
            let read = field::addresses(&changed);
            prop_assert!(read.as_ref().is_ok_and(|all| all.iter().any(|other| other.address == one.address)), "{body:?} {read:?}");
        }
    }

    #[test]
    fn any_bytes_are_fields_that_join_to_them(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "([a:. ]|\r\n){0,40}") {
        for header in [bytes, text.into_bytes()] {
            let joined: Vec<u8> = header::fields(&header).flat_map(|field| header[field.place].to_vec()).collect();
            prop_assert_eq!(&joined, &header);
            let _ = field::addresses(&header);
            if let Some(end) = header::end(&header) {
                prop_assert!(header[end..].starts_with(b"\r\n"));
            }
        }
    }

    #[test]
    fn addresses_come_back(text in r#"[@,:ab.%!"\\+\[\] <>é\x00-\x1f]{0,30}"#) {
        if let Ok(address) = Address::parse(&text) {
            let written = address.to_string();
            prop_assert!(!written.contains(char::is_control));
            prop_assert_eq!(Address::parse(&written), Ok(address));
        }
    }

    #[test]
    fn stuffed_bodies_come_back_however_they_are_cut(text in prop::collection::vec(prop::sample::select(b"a.\r\n.\r\n.".to_vec()), 0..40), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4)) {
        let wire = stuff(&text);
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
        at.extend([0, wire.len()]);
        at.sort_unstable();
        let mut unstuffer = Unstuffer::new();
        let mut out = Vec::new();
        for pair in at.windows(2) {
            out.extend(unstuffer.piece(&wire[pair[0]..pair[1]]).flatten().copied());
        }
        prop_assert_eq!(out, text);
    }

    #[test]
    fn a_domain_is_in_its_own_subtree(domain in "[a-zA-Z0-9.\\-\\[\\]é]{0,20}", label in "[a-z0-9\\-]{1,6}") {
        use std::ops::RangeBounds;
        let reversed = ReversedDomain::new(&domain);
        prop_assert!(reversed.subtree_range().contains(&reversed));
        if !domain.starts_with(['[', '.']) && !domain.is_empty() && domain.is_ascii() {
            let under = ReversedDomain::new(&format!("{label}.{domain}"));
            prop_assert!(reversed.subtree_range().contains(&under), "{under} is not under {reversed}");
        }
    }

    #[test]
    fn statuses_come_back(class in prop::sample::select(vec![2u8, 4, 5]), subject in 0u16..1000, detail in 0u16..1000) {
        let status = Status::new(class, subject, detail);
        prop_assert_eq!(status.to_string().parse(), Ok(status));
    }

    #[test]
    fn notices_have_whole_lines_and_no_strange_fields(
        texts in prop::collection::vec("(?s).{0,60}", 10),
        body in prop::collection::vec(any::<u8>(), 0..200),
        whole: bool,
    ) {
        let text = |n: usize| format!("x\r\nBcc: y{}", texts[n]);
        let notice = Notice {
            reporting_mta: text(0),
            sender: text(1),
            personal: text(9),
            postmaster: text(2),
            message_id: text(3),
            date: Time(0),
            arrived: Time(u64::MAX),
            envelope_id: text(4),
            later: None,
            recipients: vec![Report {
                original: text(5),
                origin: text(5),
                final_address: text(6),
                action: Action::Failed,
                status: Status::NEVER,
                diagnostic: text(7),
                peer: text(8),
                last_attempt: None,
                retry_until: None,
            }],
            returned: if whole { Returned::Message(body) } else { Returned::Header(body) },
        };
        let built = notice.build();
        let end = built.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        for (at, byte) in built.iter().enumerate() {
            prop_assert!(*byte != b'\n' || built[at - 1] == b'\r');
            prop_assert!(*byte != b'\r' || built[at + 1] == b'\n');
        }
        let header = String::from_utf8_lossy(&built[..end]).into_owned();
        prop_assert!(!header.contains("\r\nBcc"), "{}", header);
        prop_assert_eq!(header.matches("\r\n").count() - header.matches("\r\n ").count(), 8);
    }
}
