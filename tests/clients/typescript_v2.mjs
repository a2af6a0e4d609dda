// The official TypeScript SDK of the second major version: `typescript_v2.mjs URL legacy|auto`.
//
// It speaks Streamable HTTP by itself; a WebSocket is handed to it.

import { createRequire } from 'node:module';
import { main } from './checks.mjs';

// NODE_PATH counts for `require` only; packages are installed beside the cache, not beside this file.
const require = createRequire(import.meta.url);
const { Client, StreamableHTTPClientTransport } = require('@modelcontextprotocol/client');

// One text message is one JSON-RPC message.
class WebSocketTransport {
  constructor(url) {
    this.url = url;
  }

  async start() {
    this.socket = new WebSocket(this.url, 'mcp');
    this.socket.onmessage = ({ data }) => this.onmessage?.(JSON.parse(data));
    await new Promise((opened, failed) => {
      this.socket.onopen = opened;
      this.socket.onerror = () => failed(new Error('no WebSocket'));
    });
    this.socket.onerror = () => this.onerror?.(new Error('the WebSocket failed'));
    this.socket.onclose = () => this.onclose?.();
  }

  async send(message) {
    this.socket.send(JSON.stringify(message));
  }

  async close() {
    this.socket.close();
  }
}

await main(async (url, era) => {
  const Transport = url.startsWith('ws') ? WebSocketTransport : StreamableHTTPClientTransport;
  const client = new Client({ name: 'judge', version: '1' }, { capabilities: {}, versionNegotiation: { mode: era } });
  await client.connect(new Transport(new URL(url)));
  const call = (name, args, options) => client.callTool({ name, arguments: args }, options);
  return { client, version: client.getNegotiatedProtocolVersion(), call };
});
