//! Whether our own SMTP listener is there: a server that is asked connects back to it, and asking without it makes work
//! for the server and brings nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use sluice_config::Service;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Pause between two tries.
const PAUSE: Duration = Duration::from_secs(2);
/// For one connection and its greeting.
const TRY_TIME: Duration = Duration::from_secs(10);
/// A greeting is looked at no further.
const GREETING_OCTETS_MAX: usize = 1024;

/// Where the listeners of a configuration can be reached from this machine. Those that begin with TLS are left out: a
/// server that brings mail speaks plain SMTP first.
pub(crate) fn listeners(services: &[Service]) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for &(address, port) in services.iter().flat_map(|service| &service.listen) {
        let all = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        match address {
            None => addresses.extend(all.map(|ip| SocketAddr::new(ip, port))),
            Some(ip) if ip.is_unspecified() => {
                let local = if ip.is_ipv4() { all[0] } else { all[1] };
                addresses.push(SocketAddr::new(local, port));
            }
            Some(ip) => addresses.push(SocketAddr::new(ip, port)),
        }
    }
    addresses
}

/// Whether one of these greets with 220, tried again until `patience` is over.
///
/// # Errors
/// What the last try met, in words.
pub(crate) async fn accepts_mail(addresses: &[SocketAddr], patience: Duration) -> Result<SocketAddr, String> {
    let end = Instant::now() + patience;
    let mut last = "the configuration has no listener for plain SMTP".to_owned();
    loop {
        for address in addresses {
            match timeout_at(end.max(Instant::now() + PAUSE), timeout(TRY_TIME, greets(*address))).await {
                Ok(Ok(Ok(()))) => return Ok(*address),
                Ok(Ok(Err(why))) => last = format!("{address}: {why}"),
                Ok(Err(_)) | Err(_) => last = format!("{address}: no greeting"),
            }
        }
        if addresses.is_empty() || Instant::now() + PAUSE > end {
            return Err(last);
        }
        sleep(PAUSE).await;
    }
}

async fn greets(address: SocketAddr) -> Result<(), String> {
    let mut stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let mut greeting = Vec::new();
    while !greeting.contains(&b'\n') && greeting.len() < GREETING_OCTETS_MAX {
        let mut octets = [0; 256];
        match stream.read(&mut octets).await {
            Ok(0) => return Err("it hangs up without a greeting".to_owned()),
            Ok(count) => greeting.extend_from_slice(&octets[..count]),
            Err(error) => return Err(error.to_string()),
        }
    }
    // Whether it hears that or not is all the same.
    let _ = stream.write_all(b"QUIT\r\n").await;
    let _ = stream.read(&mut [0; 256]).await;
    if greeting.starts_with(b"220") {
        return Ok(());
    }
    let line = greeting.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Err(format!("it does not accept mail: {}", String::from_utf8_lossy(line).trim_end().escape_debug()))
}
