//! [`Events`]: what a host hears, as the body of an answer that goes on until the host is cut off.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use geofilter_fleet::KEEP_ALIVE;
use hyper::body::{Body, Frame};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, interval_at};
use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;

use super::connected::{Place, Said};

/// A comment, which says that the portal is there.
const HERE: &[u8] = b":\n\n";

/// See the module.
pub(super) struct Events {
    said: WatchStream<Said>,
    turn: Interval,
    /// Given up when nobody hears them any more.
    _place: Place,
}

impl Events {
    pub(super) fn of(said: watch::Receiver<Said>, place: Place) -> Self {
        let said = WatchStream::new(said);
        let turn = interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
        Self { said, turn, _place: place }
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
            match Pin::new(&mut self.said).poll_next(context) {
                Poll::Ready(Some(Said { event: Some(event), .. })) => {
                    self.turn.reset();
                    return Poll::Ready(Some(Ok(Frame::data(event))));
                }
                // It is not known yet.
                Poll::Ready(Some(Said { event: None, .. })) => {}
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    let turn = self.turn.poll_tick(context);
                    return turn.map(|_| Some(Ok(Frame::data(Bytes::from_static(HERE)))));
                }
            }
        }
    }
}
