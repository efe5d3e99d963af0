//! [`Few`]: so many connections at a time and no more, and of one network so many that others find room.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum_server::accept::Accept;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::session::network;

/// Connections at a time: each takes some 40 kB with TLS.
const MOST: u32 = 1024;
/// Of one address, or one IPv6 network. A page that is open takes two; all who come through SSH have one address.
const MOST_OF_ONE: u32 = 128;
/// Files that are open besides: the database, the agent, the courier.
const OTHERS: u64 = 128;
/// Connections of a fleet's hosts.
const HOSTS: u64 = 20_000;

/// Allows as many open files as so many connections take, if this process may, and those of a fleet.
pub(crate) fn make_room(of_fleet: bool) {
    let wanted = u64::from(MOST) + OTHERS + if of_fleet { HOSTS } else { 0 };
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        let current = Some(maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current, maximum }) {
            tracing::warn!(%error, wanted, "the number of open files could not be raised");
        }
    }
}

/// Accepts as another acceptor does, where there is room.
#[derive(Debug, Clone)]
pub(crate) struct Few<A> {
    acceptor: A,
    taken: Taken,
}

impl<A> Few<A> {
    /// As this one.
    pub(crate) fn of(acceptor: A) -> Self {
        Self { acceptor, taken: Taken::new(MOST, MOST_OF_ONE) }
    }
}

/// How many there are of each network, of so many.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    by_network: Arc<Mutex<HashMap<IpAddr, u32>>>,
    most: u32,
    most_of_one: u32,
}

impl Taken {
    /// None yet, of so many in all and of one network.
    pub(crate) fn new(most: u32, most_of_one: u32) -> Self {
        Self { by_network: Arc::default(), most, most_of_one }
    }

    /// A place for somebody from there, if there is one.
    pub(crate) fn take(&self, source: IpAddr) -> Option<Place> {
        let source = match source.to_canonical() {
            IpAddr::V6(address) if !address.is_loopback() => IpAddr::V6(network(address)),
            source => source,
        };
        let most = if source.is_loopback() { self.most } else { self.most_of_one };
        let mut taken = self.by_network.lock().unwrap_or_else(PoisonError::into_inner);
        let all: u32 = taken.values().sum();
        let of_it = taken.get(&source).copied().unwrap_or_default();
        // What is kept for who comes through SSH, when others have taken all the rest.
        let room = if source.is_loopback() { self.most } else { self.most - self.most_of_one };
        if all >= room || of_it >= most {
            return None;
        }
        taken.insert(source, of_it + 1);
        Some(Place { source, taken: self.clone() })
    }
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    source: IpAddr,
    taken: Taken,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.by_network.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.source);
            }
        }
    }
}

impl<S, A> Accept<TcpStream, S> for Few<A>
where
    S: Send + 'static,
    A: Accept<TcpStream, S> + Clone + Send + 'static,
    A::Future: Send,
{
    type Stream = Placed<A::Stream>;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Self { acceptor, taken } = self.clone();
        Box::pin(async move {
            // An answer goes out at once: it is not kept until the one before was acknowledged.
            stream.set_nodelay(true)?;
            let place = taken.take(stream.peer_addr()?.ip());
            let place = place.ok_or_else(|| io::Error::other("there are too many connections"))?;
            let (stream, service) = acceptor.accept(stream, service).await?;
            Ok((Placed { stream, _place: place }, service))
        })
    }
}

/// A connection that has its place.
#[derive(Debug)]
pub(crate) struct Placed<S> {
    stream: S,
    _place: Place,
}

impl<S: AsyncRead + Unpin> AsyncRead for Placed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Placed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_one_network_there_are_so_many_that_others_find_room() {
        let taken = Taken::new(MOST, MOST_OF_ONE);
        let at = |text: &str| taken.take(text.parse().unwrap());
        let mut many: Vec<_> = (0..MOST_OF_ONE).map(|_| at("2001:db8::1").unwrap()).collect();
        assert!(at("2001:db8::2").is_none(), "the same network");
        let mut others: Vec<_> =
            (0..MOST_OF_ONE).map(|_| at("::ffff:192.0.2.1").unwrap()).collect();
        assert!(at("192.0.2.1").is_none(), "the same address");
        assert!(at("192.0.2.2").is_some() && at("2001:db8:0:1::1").is_some());
        many.pop();
        assert!(at("2001:db8::2").is_some());
        // Operators who come through SSH are all on this host, and have all the room that is left.
        others.extend((0..).map_while(|_| at("127.0.0.1")));
        assert_eq!(many.len() + others.len(), MOST as usize);
        assert!(at("192.0.2.3").is_none());
        others.clear();
        assert!(at("192.0.2.3").is_some());
    }
}
