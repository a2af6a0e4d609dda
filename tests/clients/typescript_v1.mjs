// The official TypeScript SDK of the first major version, over both of its transports: `typescript_v1.mjs URL legacy`.

import { createRequire } from 'node:module';
import { main } from './checks.mjs';

// NODE_PATH counts for `require` only; packages are installed beside the cache, not beside this file.
const require = createRequire(import.meta.url);
const { Client } = require('@modelcontextprotocol/sdk/client/index.js');
const { StreamableHTTPClientTransport } = require('@modelcontextprotocol/sdk/client/streamableHttp.js');
const { WebSocketClientTransport } = require('@modelcontextprotocol/sdk/client/websocket.js');

await main(async (url) => {
  const Transport = url.startsWith('ws') ? WebSocketClientTransport : StreamableHTTPClientTransport;
  const transport = new Transport(new URL(url));
  let version;
  transport.setProtocolVersion = ((set) => function (negotiated) {
    version = negotiated;
    set?.call(this, negotiated);
  })(transport.setProtocolVersion);
  const client = new Client({ name: 'judge', version: '1' }, { capabilities: {} });
  await client.connect(transport);
  const call = (name, args, options) => client.callTool({ name, arguments: args }, undefined, options);
  return { client, version, call };
});
