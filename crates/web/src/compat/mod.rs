//! The tongues of the services that Watchpost replaces, where they differ from its own: names, letter case and
//! envelopes. Everything is done by the functions of `api` and `auth`.
//!
//! | service | what is left to do here |
//! |---|---|
//! | A, D | nothing: their paths are further names of the API's own |
//! | B | [`b`]: the path for events, with `source` in its answer |
//! | C | [`c`]: title case and envelopes, signing up |
//! | E | [`e`]: the dashboard's helpers |

mod b;
mod c;
mod e;

use crate::routes::Routes;

pub(crate) fn routes(routes: &mut Routes) {
    b::routes(routes);
    c::routes(routes);
    e::routes(routes);
}
