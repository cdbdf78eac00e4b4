// The page to which a provider sends the browser back. The page at `/` waits for what was added to the address.
const channel = new BroadcastChannel("provider");
channel.onmessage = () => close(); // not before the answer: a window that closes may lose its message
channel.postMessage(location.search);
history.replaceState(null, "", location.pathname);
