// What every client in JavaScript must see, whichever major version of the SDK it is made of.
//
// The SDK itself checks every answer against its types, and structured content against the output schema of a tool.

import { randomUUID } from 'node:crypto';

const ERAS = { legacy: '2025-11-25', auto: '2026-07-28' };
const TOOLS = ['store_memory', 'semantic_search', 'test_error_handling', 'test_tool_with_progress', 'test_slow'];

function check(name, holds, detail) {
  if (!holds) throw new Error(`${name}: ${JSON.stringify(detail)}`);
  console.log(`ok ${name}`);
}

const refusal = (promise) => promise.then((answer) => JSON.stringify(answer), (error) => error.code ?? String(error));

async function judge(client, version, era, call) {
  check('era', version === ERAS[era], version);
  const names = (await client.listTools()).tools.map(({ name }) => name);
  check('list tools', TOOLS.every((name) => names.includes(name)), names);

  const mark = randomUUID();
  const stored = await call('store_memory', { content: `The kettle is green ${mark}` });
  const found = await call('semantic_search', { query: `kettle ${mark}`, limit: 5 });
  check('call', found.structuredContent.hits[0]?.id === stored.structuredContent.id, found);

  const unknown = await refusal(call('no_such_tool', {}));
  const failed = await call('test_error_handling', {});
  const bad = await call('store_memory', { text: 'x' });
  const right = unknown === -32602 && failed.isError && bad.isError && bad.structuredContent.code === 'INVALID_ARGUMENTS';
  check('errors', right, [unknown, failed, bad]);

  const { uri } = (await client.listResources()).resources[0];
  const { contents } = await client.readResource({ uri });
  const none = await refusal(client.readResource({ uri: 'test://no-such-resource' }));
  check('resources', contents[0].uri === uri && [-32602, -32002].includes(none), [contents, none]);

  const steps = [];
  await call('test_tool_with_progress', {}, { onprogress: ({ progress, total }) => steps.push([progress, total]) });
  check('progress', JSON.stringify(steps) === '[[0,100],[50,100],[100,100]]', steps);

  const leave = new AbortController();
  setTimeout(() => leave.abort('enough'), 100);
  const abandoned = await call('test_slow', { seconds: 30 }, { signal: leave.signal }).then(() => false, () => true);
  const health = await call('health_check', {}, { timeout: 5000 });
  check('cancel', abandoned && health.structuredContent.status === 'healthy', health);
}

// `connect(url, era)` gives a client, the negotiated revision, and how to call a tool.
export async function main(connect) {
  const [url, era] = process.argv.slice(2);
  setTimeout(() => {
    console.log('FAILED not done within 60 s');
    process.exit(1);
  }, 60_000).unref();
  try {
    const { client, version, call } = await connect(url, era);
    await judge(client, version, era, call);
    await client.close();
  } catch (error) {
    console.log(`FAILED ${error.stack}`);
    process.exit(1);
  }
  // A socket that is still closing must not keep the process.
  process.exit(0);
}
