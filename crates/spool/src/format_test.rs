//! Compares `docs/internals/spool-format.md` with the code: constants, every field of every layout, the kinds, and the
//! worked example. The page is the contract; a difference here means that one of the two is wrong.

use std::collections::BTreeMap;

use crate::checkpoint::{self, Begin, LiveRow};
use crate::ids::{EntryId, Location};
use crate::journal::{self, Fact};
use crate::record::{self, FileHeader, FileKind, Kind, Stamp};
use crate::segment::{self, Piece};
use crate::spool::{FILE_SIZE_MAX, FILE_SIZE_MIN, Options};

const PAGE: &str = include_str!("../../../docs/internals/spool-format.md");

/// The rows of the first table under a heading, as trimmed cells, without the head of the table.
fn table(heading: &str) -> Vec<Vec<String>> {
    let (_, section) = PAGE.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let section = section.split("\n#").next().unwrap();
    rows(section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|')))
}

fn rows<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Vec<String>> {
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    lines.skip(2).map(cells).collect()
}

/// Checks that each row of a layout says where in `bytes` the named value stands, that the rows leave no gap, and that
/// they name all the values.
fn compare(heading: &str, bytes: &[u8], fields: &[(&str, Vec<u8>)]) {
    let rows = table(heading);
    let mut values: Vec<_> = fields.to_vec();
    let mut offset = 0;
    for row in &rows {
        let (written_offset, width, name) = (&row[0], &row[1], &row[2]);
        let value = if name == "zero" {
            vec![0; width.parse().unwrap()]
        } else {
            let place = values.iter().position(|(field, _)| field == name);
            values.remove(place.unwrap_or_else(|| panic!("{heading}: no field {name}"))).1
        };
        if let Ok(written) = written_offset.parse::<usize>() {
            assert_eq!(written, offset, "{heading}: offset of {name}");
        } else {
            let fixed = written_offset.strip_suffix("+n").map(|fixed| fixed.parse::<usize>().unwrap());
            assert!(fixed.is_some_and(|fixed| fixed <= offset), "{heading}: offset of {name}");
        }
        if width != "n" {
            assert_eq!(width.parse(), Ok(value.len()), "{heading}: width of {name}");
        }
        assert_eq!(&bytes[offset..offset + value.len()], value, "{heading}: {name}");
        offset += value.len();
    }
    assert!(values.is_empty(), "{heading}: not on the page: {values:?}");
    assert_eq!(offset, bytes.len(), "{heading}: bytes behind the last field");
}

fn n2(value: u16) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}
fn n4(value: u32) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}
fn n8(value: u64) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

const SPOOL_ID: u64 = 0x0123_4567_89AB_CDEF;
const AT: Location = Location { segment: 0x0A0B, offset: 0x0C08 };

#[test]
fn the_constants_are_those_of_the_page() {
    let options = Options::default();
    let expected = BTreeMap::from([
        ("file header length", record::FILE_HEADER_LEN as u64),
        ("record header length", record::RECORD_HEADER_LEN as u64),
        ("alignment of records", record::ALIGNMENT as u64),
        ("file format version", record::FORMAT_VERSION.into()),
        ("record version", record::RECORD_VERSION.into()),
        ("longest part of a body in one record", segment::PIECE_MAX as u64),
        ("entry ids reserved at a time", journal::ID_BLOCK),
        ("smallest segment or journal file", FILE_SIZE_MIN),
        ("largest segment or journal file", FILE_SIZE_MAX),
        ("segment file, unless an option says otherwise", options.segment_size),
        ("journal file, unless an option says otherwise", options.journal_size),
        ("room kept for a journal", crate::writer::segments::SPARE_SIZE),
        ("longest delay of a lazy transition, ms", options.lazy_delay.as_millis() as u64),
        ("delay before the writer tries a failing disk again, ms", options.retry_delay.as_millis() as u64),
        ("rest of a segment before what is left of it is copied, ms", options.rest.as_millis() as u64),
        ("drafts' requests that may wait", options.queue_length as u64),
    ]);
    let rows = table("## Constants");
    let written: BTreeMap<&str, u64> =
        rows.iter().map(|row| (row[0].as_str(), row[1].parse().unwrap())).collect();
    assert_eq!(written, expected);
}

#[test]
fn the_kinds_are_those_of_the_page() {
    let (_, section) = PAGE.split_once("| kind | name | in | body |").unwrap();
    let lines = std::iter::once("").chain(section.lines().skip(1).take_while(|line| line.starts_with('|')));
    let written: Vec<(u8, String)> =
        rows(lines).into_iter().map(|row| (row[0].parse().unwrap(), row[1].clone())).collect();
    let expected = [
        (Kind::Message, "message"),
        (Kind::Chunk, "chunk"),
        (Kind::State, "state"),
        (Kind::Removed, "removed"),
        (Kind::Note, "note"),
        (Kind::Void, "void"),
        (Kind::Reserve, "reserve"),
        (Kind::Begin, "begin"),
        (Kind::Entry, "entry"),
        (Kind::End, "end"),
    ];
    assert_eq!(written, expected.map(|(kind, name)| (kind as u8, name.to_owned())));
}

#[test]
fn the_file_header_is_as_drawn() {
    for kind in [FileKind::Identity, FileKind::Segment, FileKind::Journal, FileKind::Checkpoint] {
        let magic = String::from_utf8(kind.magic().to_vec()).unwrap();
        assert!(PAGE.contains(&format!("`{magic}`")), "{magic}");
        let header = FileHeader { kind, version: 1, number: 77, spool_id: SPOOL_ID, size: 8192 };
        let bytes = header.encode();
        compare(
            "## Header of every file",
            &bytes,
            &[
                ("magic", kind.magic().to_vec()),
                ("version", n2(1)),
                ("number", n4(77)),
                ("spool id", n8(SPOOL_ID)),
                ("size", n8(8192)),
                ("crc", n4(crc32c::crc32c(&bytes[..36]))),
            ],
        );
        assert_eq!(FileHeader::decode(kind, &bytes, crate::Later::Refuse), Ok(header));
    }
}

#[test]
fn the_record_header_is_as_drawn() {
    let stamp = Stamp::new(SPOOL_ID, FileKind::Segment, 5);
    let mut seed = crc32c::crc32c(&SPOOL_ID.to_le_bytes());
    seed = crc32c::crc32c_append(seed, b"SLSEGMNT");
    seed = crc32c::crc32c_append(seed, &5u32.to_le_bytes());
    let mut bytes = Vec::new();
    let start = record::open(&mut bytes, stamp);
    bytes.extend_from_slice(b"the head");
    record::seal(&mut bytes, start, stamp, Kind::Chunk, (9, 0xDEAD_BEEF));
    compare(
        "## Header of every record",
        &bytes,
        &[
            ("mark", n4(0x0123_4567)),
            ("head crc", n4(crc32c::crc32c_append(seed, &bytes[8..]))),
            ("head length", n4(8)),
            ("body length", n4(9)),
            ("body crc", n4(0xDEAD_BEEF)),
            ("kind", vec![2]),
            ("version", vec![1]),
            ("head", b"the head".to_vec()),
        ],
    );
    assert_eq!(record::padding(8, 9).len(), 7, "41 bytes are filled up to 48");
}

#[test]
fn the_heads_of_a_segment_are_as_drawn() {
    let piece = Piece { segment: 3, offset: 4096, len: 1000, crc: 0xCAFE };
    let mut line = Vec::new();
    segment::encode_message_head(&mut line, EntryId(1), 0, &[piece], b"");
    let line = line[segment::MESSAGE_HEAD_LEN..].to_vec();
    compare(
        "### Piece",
        &line,
        &[("segment", n4(3)), ("offset", n4(4096)), ("length", n4(1000)), ("crc", n4(0xCAFE))],
    );
    let mut head = Vec::new();
    segment::encode_message_head(&mut head, EntryId(42), 2005, &[piece, piece], b"envelope");
    compare(
        "### Head of a message",
        &head,
        &[
            ("id", n8(42)),
            ("envelope length", n4(8)),
            ("piece count", n4(2)),
            ("body length", n8(2005)),
            ("pieces", [line.clone(), line].concat()),
            ("envelope", b"envelope".to_vec()),
        ],
    );
    let chunk = segment::chunk_head(EntryId(42), 7);
    compare("### Head of a chunk", &chunk, &[("id", n8(42)), ("index", n4(7))]);
}

#[test]
fn the_heads_of_a_journal_are_as_drawn() {
    let check = |heading: &str, fact: Fact<'_>, fields: &[(&str, Vec<u8>)]| {
        let mut head = Vec::new();
        fact.encode(&mut head);
        assert_eq!(head.len(), fact.head_len());
        assert_eq!(Fact::decode(fact.kind(), &head), Some(fact));
        compare(heading, &head, fields);
    };
    let id = EntryId(42);
    let place = [("id", n8(42)), ("segment", n4(0x0A0B)), ("offset", n4(0x0C08))];
    let with_state = [place.to_vec(), vec![("state", b"due at noon".to_vec())]].concat();
    check("### Head of a state", Fact::State { id, at: AT, state: b"due at noon" }, &with_state);
    check("### Head of a removal", Fact::Removed { id, at: AT }, &place);
    for (kind, code) in [(FileKind::Segment, 1), (FileKind::Journal, 2)] {
        let fields = [("file kind", n4(code)), ("number", n4(9)), ("from", n4(4096))];
        check("### Head of a void", Fact::Void { kind, number: 9, from: 4096 }, &fields);
    }
    check("### Head of a reservation", Fact::Reserve { mark: 1 << 40 }, &[("mark", n8(1 << 40))]);
}

#[test]
fn the_heads_of_a_checkpoint_are_as_drawn() {
    let begin = Begin { journal: 6, scan: AT, next_id: 1 << 33 };
    assert_eq!(Begin::decode(&begin.encode()), Some(begin));
    let fields = [
        ("journal", n4(6)),
        ("scan segment", n4(AT.segment)),
        ("scan offset", n4(AT.offset)),
        ("next id", n8(1 << 33)),
    ];
    compare("### Head of a checkpoint's begin", &begin.encode(), &fields);
    let row = LiveRow { at: AT, body_len: 99, spread: [4, 5].into() };
    for (state, has) in [(Some(&b"state"[..]), 1), (None, 0)] {
        let head = checkpoint::encode_entry(EntryId(42), &row, state);
        let decoded = checkpoint::decode_entry(&head);
        let decoded = decoded.map(|(id, row, from)| (id, row, from.map(|from| &head[from..])));
        assert_eq!(decoded, Some((EntryId(42), row.clone(), state)));
        let fields = [
            ("id", n8(42)),
            ("segment", n4(AT.segment)),
            ("offset", n4(AT.offset)),
            ("body length", n8(99)),
            ("spread count", n4(2)),
            ("has state", n4(has)),
            ("spread", [n4(4), n4(5)].concat()),
            ("state", state.unwrap_or(&[]).to_vec()),
        ];
        compare("### Head of a checkpoint's entry", &head, &fields);
    }
    let end = checkpoint::encode_end(10, 11);
    compare("### Head of a checkpoint's end", &end, &[("entry count", n8(10)), ("note count", n8(11))]);
}

/// Sixteen bytes a line, as the page prints them.
fn hex(bytes: &[u8]) -> String {
    let line = |(number, bytes): (usize, &[u8])| {
        let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{:04x}  {}\n", number * 16, bytes.join(" "))
    };
    bytes.chunks(16).enumerate().map(line).collect()
}

#[test]
fn the_worked_example_is_what_is_written() {
    let (kind, number) = (FileKind::Segment, 1);
    let header = FileHeader { kind, version: record::FORMAT_VERSION, number, spool_id: SPOOL_ID, size: 8192 };
    let stamp = Stamp::new(SPOOL_ID, kind, number);
    let body = b"Hi\r\n";
    let mut bytes = header.encode().to_vec();
    let start = record::open(&mut bytes, stamp);
    segment::encode_message_head(&mut bytes, EntryId(42), 4, &[], b"env");
    record::seal(&mut bytes, start, stamp, Kind::Message, (body.len(), crc32c::crc32c(body)));
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(record::padding(segment::message_head_len(0, 3), body.len()));
    let (_, example) = PAGE.split_once("```hex\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    assert_eq!(hex(&bytes), example);
}
