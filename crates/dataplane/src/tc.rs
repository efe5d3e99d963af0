//! What traffic control holds: qdiscs, and the filters on ingress and egress.

use std::io::{self, ErrorKind};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcHandle, TcMessage};

use crate::netlink::dump;

/// `ffff:fff2` and `ffff:fff3`: where the filters on ingress and egress are.
pub(crate) const INGRESS: u16 = 0xfff2;
/// See [`INGRESS`].
pub(crate) const EGRESS: u16 = 0xfff3;
/// The major number that both share with their qdisc.
pub(crate) const MAJOR: u16 = 0xffff;

/// The qdiscs of every interface.
pub(crate) fn qdiscs() -> io::Result<Vec<TcMessage>> {
    let answers = dump(RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default()))?;
    let qdisc = |message| match message {
        RouteNetlinkMessage::NewQueueDiscipline(qdisc) => Some(qdisc),
        _ => None,
    };
    Ok(answers.into_iter().filter_map(qdisc).collect())
}

/// The filters of an interface in one direction.
pub(crate) fn filters(index: u32, direction: u16) -> io::Result<Vec<TcMessage>> {
    let mut request = TcMessage::with_index(index as i32);
    request.header.parent = TcHandle { major: MAJOR, minor: direction };
    let answers = match dump(RouteNetlinkMessage::GetTrafficFilter(request)) {
        // An ingress qdisc has no egress.
        Err(error) if error.kind() == ErrorKind::InvalidInput => Vec::new(),
        answers => answers?,
    };
    let filter = |message| match message {
        RouteNetlinkMessage::NewTrafficFilter(filter) => Some(filter),
        _ => None,
    };
    Ok(answers.into_iter().filter_map(filter).collect())
}
