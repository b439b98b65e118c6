//! Messages made of seven-bit text, and what encoding would spoil; each small enough to read.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::encoding::LINE_MAX;

const SEVEN: Needs = Needs { seven_bit: true, line_max: None };

/// `|` stands for the end of a line.
fn seven(message: &str) -> String {
    match encoded(message.replace('|', "\r\n").as_bytes(), SEVEN) {
        Ok(out) => String::from_utf8(out.into_owned()).unwrap().replace("\r\n", "|"),
        Err(why) => format!("unfit: {why:?}"),
    }
}

#[test]
fn what_needs_nothing_stays_as_it_is() {
    let plain = b"Subject: x\r\nContent-Transfer-Encoding: 8bit\r\n\r\nplain\r\n";
    assert!(matches!(encoded(plain, SEVEN), Ok(Cow::Borrowed(same)) if same == plain));
    let any = b"S: \xff\r\n\r\n\xff\r\n";
    assert!(matches!(encoded(any, Needs::default()), Ok(Cow::Borrowed(same)) if same == any));
}

#[test]
fn text_becomes_quoted_printable_and_the_rest_base64() {
    assert_eq!(
        seven(
            "Content-Type: text/plain; charset=utf-8|MIME-Version: 1.0|Content-Transfer-Encoding: 8bit||gr\u{fc}n = 1 |end|"
        ),
        "Content-Type: text/plain; charset=utf-8|MIME-Version: 1.0|Content-Transfer-Encoding: quoted-printable||gr=C3=BCn =3D 1=20|end|"
    );
    assert_eq!(
        seven("MIME-Version: 1.0|Content-Type: image/x||\u{fc}\u{fc}"),
        "MIME-Version: 1.0|Content-Type: image/x|Content-Transfer-Encoding: base64||w7zDvA==|"
    );
}

#[test]
fn a_text_that_is_no_mime_message_becomes_one() {
    assert_eq!(
        seven("Subject: x||\u{fc}|"),
        "Subject: x|MIME-Version: 1.0|Content-Type: text/plain; charset=utf-8|Content-Transfer-Encoding: quoted-printable||=C3=BC|"
    );
    let latin = encoded(b"Subject: x\r\n\r\n\xfc\r\n", SEVEN).unwrap();
    assert!(
        latin
            .ends_with(b"charset=unknown-8bit\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=FC\r\n")
    );
    assert!(seven("|\u{fc}|").starts_with("MIME-Version: 1.0|"), "a message without a header");
}

#[test]
fn only_the_parts_that_need_it_are_encoded() {
    let message = "MIME-Version: 1.0|Content-Type: multipart/mixed;| boundary=\"b (1)\"|Content-Transfer-Encoding: 8bit||\
        pre\u{fc}|--b (1)|Content-Type: text/plain||plain|--b (1)|Content-Type: text/html; charset=utf-8|Content-Transfer-Encoding: 8bit||<p>\u{fc}|\
        --b (1)|Content-Type: message/rfc822||Subject: inner||\u{fc}|--b (1)--|after|";
    assert_eq!(
        seven(message),
        "MIME-Version: 1.0|Content-Type: multipart/mixed;| boundary=\"b (1)\"|Content-Transfer-Encoding: 7bit||\
         pre??|--b (1)|Content-Type: text/plain||plain|--b (1)|Content-Type: text/html; charset=utf-8|\
         Content-Transfer-Encoding: quoted-printable||<p>=C3=BC|--b (1)|Content-Type: message/rfc822||Subject: inner|\
         MIME-Version: 1.0|Content-Type: text/plain; charset=utf-8|Content-Transfer-Encoding: quoted-printable||=C3=BC|--b (1)--|after|"
    );
}

#[test]
fn what_would_be_spoiled_is_left_alone() {
    for (message, why) in [
        ("Content-Type: multipart/signed; boundary=b||--b||\u{fc}|--b--|", "Sealed"),
        (
            "Content-Type: multipart/mixed; boundary=a||--a|Content-Type: multipart/signed; boundary=b||--b||\u{fc}|--b--|--a--|",
            "Sealed",
        ),
        ("Subject: \u{fc}||x|", "Header"),
        ("Content-Transfer-Encoding: base64||\u{fc}|", "Mislabelled"),
        ("Content-Type: multipart/mixed||\u{fc}|", "Composite"),
        ("Content-Type: multipart/mixed; boundary=b||\u{fc}|", "Composite"),
        ("Content-Type: message/partial||\u{fc}|", "Composite"),
    ] {
        assert_eq!(seven(message), format!("unfit: {why}"), "{message}");
    }
    let deep = "Content-Type: message/rfc822||".repeat(50) + "Subject: x||\u{fc}|";
    assert_eq!(seven(&deep), "unfit: Deep");
}

#[test]
fn long_lines_are_broken_by_encoding() {
    let needs = Needs { seven_bit: false, line_max: Some(80) };
    let long =
        format!("MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n{}\r\nend\r\n", "word ".repeat(40));
    let out = encoded(long.as_bytes(), needs).unwrap();
    assert!(out.split(|octet| *octet == b'\n').all(|line| line.len() <= LINE_MAX + 1));
    assert!(String::from_utf8_lossy(&out).contains("quoted-printable"));
    let short = format!("Subject: x\r\n\r\n{}\r\n", "x".repeat(80));
    assert!(matches!(encoded(short.as_bytes(), needs), Ok(Cow::Borrowed(_))));
}

#[test]
fn every_octet_comes_back_from_quoted_printable_and_base64() {
    let octets: Vec<u8> = (0..=255).filter(|octet| !matches!(octet, b'\r' | b'\n')).collect();
    let mut text = Vec::new();
    quoted_printable(&octets, &mut text);
    assert!(text.split(|octet| *octet == b'\n').all(|line| line.len() <= LINE_MAX + 1), "{text:?}");
    let mut back = Vec::new();
    let mut rest = text.as_slice();
    while let Some((&octet, behind)) = rest.split_first() {
        rest = behind;
        match octet {
            b'=' if rest.starts_with(b"\r\n") => rest = &rest[2..],
            b'=' => {
                back.push(u8::from_str_radix(std::str::from_utf8(&rest[..2]).unwrap(), 16).unwrap());
                rest = &rest[2..];
            }
            other => back.push(other),
        }
    }
    assert_eq!(back, octets);
    for (plain, coded) in [("", ""), ("f", "Zg==\r\n"), ("fo", "Zm8=\r\n"), ("foobar", "Zm9vYmFy\r\n")] {
        let mut out = Vec::new();
        base64(plain.as_bytes(), &mut out);
        assert_eq!(out, coded.as_bytes(), "RFC 4648 section 10");
    }
}

#[test]
fn any_octets_are_encoded_or_refused_and_never_more_than_seven_bits_come_out() {
    // A small generator with a fixed start: every run tries the same texts.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let pieces: [&[u8]; 12] = [
        b"\r\n",
        b"--b",
        b"--b--\r\n",
        b"\r\n\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"Content-Type: multipart/mixed; boundary=\"b\r\n",
        b"Content-Type: message/rfc822\r\n",
        b"Content-Transfer-Encoding: 8bit\r\n",
        b"\xff",
        b" ",
        b"=;\"\\",
        b"x",
    ];
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..random(14)).flat_map(|_| pieces[random(pieces.len())]).copied().collect();
        if let Ok(out) = encoded(&bytes, Needs { seven_bit: true, line_max: Some(78) }) {
            assert!(out.is_ascii(), "{bytes:?}");
        }
    }
}
