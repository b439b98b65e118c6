//! The socket between hub and child: octets, and descriptors beside them.

use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// Most descriptors of one call. The system's own limit is 253.
const DESCRIPTORS_MAX: usize = 16;

/// Writes octets, with descriptors beside the first of them. A socket that is gone is an error, and no signal.
pub(crate) fn send(socket: &UnixStream, mut octets: &[u8], descriptors: &[&File]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    let lent: Vec<BorrowedFd<'_>> = descriptors.iter().map(|file| file.as_fd()).collect();
    if !lent.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(&lent)) {
        return Err(io::Error::other("there is no room for so many descriptors"));
    }
    while !octets.is_empty() {
        match sendmsg(socket, &[IoSlice::new(octets)], &mut beside, SendFlags::NOSIGNAL) {
            Ok(sent) => {
                octets = &octets[sent..];
                beside.clear();
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads octets, and puts descriptors that came with them at the end of a list. 0 is the end.
pub(crate) fn receive(
    socket: &UnixStream,
    room: &mut [u8],
    descriptors: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(room)], &mut beside, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(received) => break received,
        }
    };
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(came) = message {
            descriptors.extend(came);
        }
    }
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};

    #[test]
    fn descriptors_come_with_the_octets_they_were_sent_with() {
        let (one, other) = UnixStream::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"in the file").unwrap();
        file.rewind().unwrap();
        let other_file = tempfile::tempfile().unwrap();
        send(&one, b"before", &[]).unwrap();
        send(&one, b"with", &[&file, &other_file]).unwrap();
        send(&one, b"after", &[]).unwrap();
        drop(one);
        let (mut octets, mut came) = (Vec::new(), VecDeque::new());
        let mut room = [0; 100];
        loop {
            let count = receive(&other, &mut room, &mut came).unwrap();
            octets.extend_from_slice(&room[..count]);
            if came.is_empty() {
                assert!(octets.len() <= b"before".len(), "the descriptor is not late");
            }
            if count == 0 {
                break;
            }
        }
        assert_eq!(octets, b"beforewithafter");
        let mut text = String::new();
        File::from(came.pop_front().unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), came.len()), ("in the file", 1));
        assert_eq!(File::from(came.pop_front().unwrap()).metadata().unwrap().len(), 0, "in their order");
    }

    #[test]
    fn a_socket_that_is_gone_is_an_error() {
        let (one, other) = UnixStream::pair().unwrap();
        drop(other);
        assert!(send(&one, b"x", &[]).is_err());
    }
}
