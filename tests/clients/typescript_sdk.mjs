// The official TypeScript SDK as a client, over its WebSocket transport.
//
// The SDK itself checks every answer against its types, and structured content against the output schema of a tool that
// has one.
// WEBSOCKET=ws takes the WebSocket of the `ws` package instead of Node's own (which Node has from 22 on).

import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';

// NODE_PATH counts for `require` only; packages are installed beside the cache, not beside this file.
const require = createRequire(import.meta.url);
const { Client } = require('@modelcontextprotocol/sdk/client/index.js');
const { WebSocketClientTransport } = require('@modelcontextprotocol/sdk/client/websocket.js');

if (process.env.WEBSOCKET === 'ws') globalThis.WebSocket = require('ws').WebSocket;

const CORE = [
  'get_current_agent', 'get_system_stats', 'health_check', 'recall_memory', 'register_agent', 'semantic_search',
  'store_memory', 'switch_agent',
];

function check(name, holds, detail) {
  if (!holds) {
    console.log(`FAILED ${name}: ${JSON.stringify(detail)}`);
    process.exit(1);
  }
  console.log(`ok ${name}`);
}

async function connect(url) {
  const client = new Client({ name: 'judge', version: '1' }, { capabilities: {} });
  await client.connect(new WebSocketClientTransport(new URL(url)));
  return client;
}

async function call(client, name, args = {}) {
  const answer = await client.callTool({ name, arguments: args });
  return [answer.isError === true, answer.structuredContent, answer.content[0].text];
}

async function core(url) {
  const client = await connect(url);
  check('initialize', client.getServerVersion().name === 'tmws' && client.getServerCapabilities().tools, client.getServerVersion());
  await client.ping();
  check('ping', true);
  const { tools, nextCursor } = await client.listTools();
  const names = tools.map((tool) => tool.name).sort();
  check('list core tools', String(names) === String(CORE) && nextCursor === undefined, names);
  const code = await client.callTool({ name: 'no_such_tool', arguments: {} }).then(() => 'an answer', (error) => error.code);
  check('unknown tool', code === -32602, code);
  await client.close();
}

async function memory(url) {
  const client = await connect(`${url}?tools=full`);
  const mark = randomUUID();
  const names = new Set();
  let cursor;
  do {
    const page = await client.listTools({ cursor });
    page.tools.forEach((tool) => names.add(tool.name));
    cursor = page.nextCursor;
  } while (cursor);
  check('list all tools', [...CORE, 'update_memory', 'delete_memory'].every((name) => names.has(name)), [...names]);

  const [storeFailed, stored] = await call(client, 'store_memory', { content: `The kettle is green ${mark}`, tags: [mark] });
  check('store_memory', !storeFailed && stored.version === 1, stored);
  const [searchFailed, found] = await call(client, 'semantic_search', { query: `kettle ${mark}`, limit: 5 });
  check('semantic_search', !searchFailed && found.hits[0]?.id === stored.id, found);
  const [recallFailed, page] = await call(client, 'recall_memory', { tags: [mark] });
  check('recall_memory', !recallFailed && page.memories.length === 1 && page.memories[0].id === stored.id, page);

  const change = { id: stored.id, expected_version: 1, content: `The kettle is red ${mark}` };
  const [updateFailed, updated] = await call(client, 'update_memory', change);
  check('update_memory', !updateFailed && updated.version === 2, updated);
  const [conflicts, conflict, sentence] = await call(client, 'update_memory', change);
  check('conflict', conflicts && conflict.code === 'CONFLICT' && sentence === conflict.error, conflict);
  const [valueRefused, value] = await call(client, 'store_memory', { content: 'x', importance: 7 });
  check('bad value', valueRefused && value.code === 'INVALID_ARGUMENTS', value);
  const [argumentRefused, argument] = await call(client, 'store_memory', { text: 'x' });
  check('bad argument', argumentRefused && argument.code === 'INVALID_ARGUMENTS', argument);

  const [healthFailed, health] = await call(client, 'health_check');
  check('health_check', !healthFailed && health.status === 'healthy', health);

  const contents = await Promise.all(
    Array.from({ length: 100 }, async (_, number) => (await call(client, 'store_memory', { content: `${mark} ${number}` }))[1].content),
  );
  check('100 calls at once', contents.every((content, number) => content === `${mark} ${number}`), contents.length);
  await client.close();
}

const url = process.argv[2];
await core(url);
await memory(url);
// A socket that is still closing must not keep the process.
process.exit(0);
