// The page to which a provider sends the browser back. The page at `/` waits for what was added to the address.
new BroadcastChannel("provider").postMessage(location.search);
history.replaceState(null, "", location.pathname);
close();
