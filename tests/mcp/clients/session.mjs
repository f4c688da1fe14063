// The same as session_1.py with the TypeScript SDK: its 1.x, or with `2` its client 2.x.
import { createInterface } from "node:readline/promises";

const [url, version] = process.argv.slice(2);
const [{ Client }, { StreamableHTTPClientTransport }] =
  version === "2"
    ? [await import("@modelcontextprotocol/client"), await import("@modelcontextprotocol/client")]
    : [
        await import("@modelcontextprotocol/sdk/client/index.js"),
        await import("@modelcontextprotocol/sdk/client/streamableHttp.js"),
      ];

function expect(condition, seen) {
  if (!condition) throw new Error(JSON.stringify(seen));
}

async function call(name, words) {
  const result = await client.callTool({ name, arguments: words });
  expect(!result.isError, result);
  return result.content[0].text;
}

async function exchange(text) {
  const words = { sender_id: "Alpha_1", recipient_id: "Beta_1", message: text };
  await call("send_message", words);
  const read = await call("get_messages", { client_id: "Beta_1" });
  expect(read.includes(text), read);
  const wait = await call("send_message_and_wait", { ...words, timeout: 0.1 });
  expect(wait.includes("No reply yet"), wait);
  await call("get_messages", { client_id: "Beta_1" });
}

const client = new Client({ name: "registry-client", version: "1" });
await client.connect(new StreamableHTTPClientTransport(new URL(url)));
const { tools } = await client.listTools();
expect(tools.length === 5, tools);
await exchange("before");
const refused = await client.callTool({ name: "get_messages", arguments: { client_id: "no id" } });
expect(refused.isError && refused.structuredContent.code === "invalid", refused);
const agents = await client.readResource({ uri: "agents://" });
expect(agents.contents[0].text.includes("agents"), agents);
const inbox = await client.readResource({ uri: "inbox://Beta_1" });
expect(inbox.contents[0].text.includes("No messages"), inbox);
console.log("ready");
await createInterface({ input: process.stdin })[Symbol.asyncIterator]().next();
await exchange("after");
console.log("done");
process.exit(0);
