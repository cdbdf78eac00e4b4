#!/bin/bash
# cloudevents 10.0.0 (npm), HTTP.toEvent with a Buffer as the body of a structured event.
#
# Expected by most people: the same event as from the text, or an error. Clients such as amqplib hand over a Buffer.
# Seen: no error, but another event. Its members are the bytes of the Buffer; `type` and `source` are missing, and the
# `id` is a new random one for each call, so that de-duplication by `source` and `id` handles every copy.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --prefix "$folder" cloudevents@10.0.0 >/dev/null

cat >check.js <<'JS'
const { HTTP } = require("cloudevents");
const text = JSON.stringify({ specversion: "1.0", id: "42", source: "https://example.com", type: "order.paid.v1" });
const parse = (body) => HTTP.toEvent({ headers: { "content-type": "application/cloudevents+json" }, body });

const [fromText, first, second] = [parse(text), parse(Buffer.from(text)), parse(Buffer.from(text))];
const changed = [];
if (fromText.id !== "42" || fromText.type !== "order.paid.v1") changed.push("a string is not parsed any more");
if (first.type !== undefined || first.source !== undefined) changed.push("a Buffer has a type or a source");
if (first.id === "42") changed.push("a Buffer keeps its id");
if (first.id === second.id) changed.push("the id of a Buffer is the same twice");
if (first["0"] !== text.charCodeAt(0)) changed.push("the bytes are no members");
if (changed.length) {
  console.error(`The behaviour changed: ${changed.join("; ")}.`);
  process.exit(1);
}
console.log(`From text: ${fromText.id}. From the same bytes: ${first.id}, then ${second.id}.`);
JS
node check.js
