# Varnish in front of wharfinger's public HTTP address. For Varnish 6.0 or newer (VCL 4.1) with vmod_xkey, which Debian
# has in varnish-modules. Change the backend and who may purge, and name this Varnish in [caches.varnish].
#
# What it keeps to:
#   - timestamp.json and answers 404 are kept as long as the daemon says, and given out no second longer: no grace.
#   - Versioned files never change. They are kept as long as there is room.
#   - Errors of the daemon are never kept.
#   - There is one copy of a file, whatever Host, query or cookie a client sends.
#   - A client that wants a range gets the whole file.
vcl 4.1;

import std;
import xkey;

backend default {
    .host = "127.0.0.1";
    .port = "8080";
    .connect_timeout = 1s;
    .first_byte_timeout = 10s;
    .between_bytes_timeout = 5s;
    # A backend that is known to be down is not waited for.
    .probe = {
        .url = "/healthz";
        .interval = 1s;
        .timeout = 1s;
        .window = 3;
        .threshold = 1;
        .initial = 1;
    }
}

# Who may purge: the hosts that wharfinger runs on.
acl purgers {
    "127.0.0.1";
    "::1";
}

sub vcl_recv {
    if (req.method == "PURGE") {
        if (client.ip !~ purgers) {
            return (synth(403, "This host may not purge."));
        }
        if (req.http.xkey-purge) {
            set req.http.X-Purged = xkey.purge(req.http.xkey-purge);
        } elsif (req.http.xkey-softpurge) {
            set req.http.X-Purged = xkey.softpurge(req.http.xkey-softpurge);
        } else {
            return (synth(400, "Say what to purge, in xkey-purge or xkey-softpurge."));
        }
        return (synth(200, "Purged " + req.http.X-Purged));
    }
    if (req.method != "GET" && req.method != "HEAD") {
        return (synth(405, "Only GET and HEAD are answered."));
    }
    # What a client may choose must not make another copy, nor reach the daemon.
    set req.url = regsub(req.url, "\?.*$", "");
    unset req.http.Cookie;
    unset req.http.Authorization;
    unset req.http.Range;
    unset req.http.X-Purged;
    if (req.url !~ "^/metadata/" && req.url !~ "^/targets/" && req.url != "/healthz") {
        return (synth(404, "There is nothing here."));
    }
    return (hash);
}

sub vcl_hash {
    hash_data(req.url);
    return (lookup);
}

sub vcl_backend_response {
    # Varnish's own default gives out what is stale for ten seconds more.
    set beresp.grace = 0s;
    unset beresp.http.Set-Cookie;
    if ((beresp.status != 200 && beresp.status != 404)
        || beresp.http.Cache-Control ~ "(?i)no-store|no-cache|private") {
        # Clients that want an answer that is not kept need not wait for one another; this is how long that is
        # remembered. A file that comes meanwhile is kept all the same.
        set beresp.uncacheable = true;
        set beresp.ttl = 1s;
        return (deliver);
    }
    # What is purged is named by the daemon; vmod_xkey reads it from here.
    set beresp.http.xkey = beresp.http.Surrogate-Key;
    # For a little while what is over is kept to ask with its ETag whether it changed; it is not given out unasked.
    set beresp.keep = 10m;
    return (deliver);
}

sub vcl_deliver {
    unset resp.http.xkey;
    unset resp.http.Surrogate-Key;
    unset resp.http.X-Varnish;
    unset resp.http.Via;
    set resp.http.Accept-Ranges = "none";
}

sub vcl_synth {
    set resp.http.Content-Type = "text/plain; charset=utf-8";
    set resp.http.Cache-Control = "no-store";
    if (resp.status == 405) {
        set resp.http.Allow = "GET, HEAD";
    }
    set resp.body = resp.reason + {"
"};
    return (deliver);
}

sub vcl_backend_error {
    # Clients try again, and their own copies hold until they expire: nothing that is over is given out here.
    set beresp.http.Content-Type = "text/plain; charset=utf-8";
    set beresp.http.Cache-Control = "no-store";
    set beresp.http.Retry-After = "1";
    set beresp.body = {"The repository does not answer.
"};
    return (deliver);
}
