//! [`Events`]: what a host hears, as the body of an answer that goes on until the host is cut off.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use geofilter_fleet::KEEP_ALIVE;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, interval_at};
use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;

use super::connected::{Place, Told};

/// A comment, which says that the portal is there.
const HERE: &[u8] = b":\n\n";

/// See the module.
pub(super) struct Events {
    told: WatchStream<Told>,
    /// By their number, what the host said that is written down.
    noted: Receiver<u64>,
    turn: Interval,
    /// Given up when nobody hears them any more.
    _place: Place,
}

impl Events {
    pub(super) fn of(told: watch::Receiver<Told>, noted: Receiver<u64>, place: Place) -> Self {
        let told = WatchStream::new(told);
        let turn = interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
        Self { told, noted, turn, _place: place }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            match Pin::new(&mut self.told).poll_next(context) {
                Poll::Ready(Some(Told { event: Some(event), .. })) => {
                    self.turn.reset();
                    return Poll::Ready(Some(Ok(Frame::data(event))));
                }
                // It is not known yet.
                Poll::Ready(Some(Told { event: None, .. })) => continue,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {}
            }
            match self.noted.poll_recv(context) {
                Poll::Ready(Some(number)) => {
                    self.turn.reset();
                    let event = format!("event: noted\ndata: {number}\n\n");
                    return Poll::Ready(Some(Ok(Frame::data(Bytes::from(event)))));
                }
                // It says nothing more, or what makes no sense.
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    let turn = self.turn.poll_tick(context);
                    return turn.map(|_| Some(Ok(Frame::data(Bytes::from_static(HERE)))));
                }
            }
        }
    }
}
