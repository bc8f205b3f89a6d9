// The AWS SDK for JavaScript against a cluster: what it did is printed as one JSON document, for the test to judge.
import { readFileSync } from "node:fs";
import * as lambda from "@aws-sdk/client-lambda";
import * as sqs from "@aws-sdk/client-sqs";

const [prefix, codeFile, streamFile, layerFile, role] = process.argv.slice(2);
const client = new lambda.LambdaClient({ maxAttempts: 1 });
const told = {};
const name = `${prefix}-function`;
const decode = (bytes) => JSON.parse(Buffer.from(bytes).toString());

async function refused(call) {
  try {
    await call;
  } catch (error) {
    const known = Object.entries(lambda).find(([, one]) => typeof one === "function" && error.constructor === one);
    return { class: known?.[0], name: error.name, fault: error.$fault, status: error.$metadata.httpStatusCode, message: error.message };
  }
  return null;
}

const layer = await client.send(
  new lambda.PublishLayerVersionCommand({
    LayerName: `${prefix}-layer`,
    Content: { ZipFile: readFileSync(layerFile) },
    CompatibleRuntimes: [process.env.PYTHON_RUNTIME],
  }),
);
told.layer = { version: layer.Version, created: layer.CreatedDate };

const parameters = {
  FunctionName: name,
  Runtime: process.env.PYTHON_RUNTIME,
  Handler: "app.handler",
  Role: role,
  Code: { ZipFile: readFileSync(codeFile) },
  Layers: [layer.LayerVersionArn],
  Environment: { Variables: { STAGE: "test" } },
  Tags: { team: "javascript" },
};
const created = await client.send(new lambda.CreateFunctionCommand(parameters));
told.created = { state: created.State, layers: created.Layers.map((one) => one.Arn === layer.LayerVersionArn) };
const limits = { client, maxWaitTime: 30, minDelay: 1, maxDelay: 2 };
told.waited = (await lambda.waitUntilFunctionActiveV2(limits, { FunctionName: name })).state;

const answer = await client.send(
  new lambda.InvokeCommand({ FunctionName: name, Payload: JSON.stringify({ name: "js" }), LogType: "Tail" }),
);
told.answer = { payload: decode(answer.Payload), version: answer.ExecutedVersion, log: Buffer.from(answer.LogResult, "base64").toString() };
const failed = await client.send(new lambda.InvokeCommand({ FunctionName: name, Payload: JSON.stringify({ fail: true }) }));
told.failed = { error: failed.FunctionError, type: decode(failed.Payload).errorType };
told.queued = (await client.send(new lambda.InvokeCommand({ FunctionName: name, InvocationType: "Event", Payload: "{}" }))).StatusCode;

await client.send(new lambda.UpdateFunctionConfigurationCommand({ FunctionName: name, MemorySize: 256 }));
await lambda.waitUntilFunctionUpdatedV2(limits, { FunctionName: name });
const version = await client.send(new lambda.PublishVersionCommand({ FunctionName: name, Description: "one" }));
await client.send(new lambda.CreateAliasCommand({ FunctionName: name, Name: "live", FunctionVersion: version.Version }));
told.alias = (await client.send(new lambda.GetAliasCommand({ FunctionName: name, Name: "live" }))).FunctionVersion;
told.pages = 0;
for await (const page of lambda.paginateListVersionsByFunction({ client, pageSize: 1 }, { FunctionName: name })) {
  told.pages += page.Versions.length;
}

const streaming = `${prefix}-stream`;
await client.send(
  new lambda.CreateFunctionCommand({
    FunctionName: streaming,
    Runtime: process.env.NODE_RUNTIME,
    Handler: "index.handler",
    Role: role,
    Code: { ZipFile: readFileSync(streamFile) },
  }),
);
await lambda.waitUntilFunctionActiveV2(limits, { FunctionName: streaming });
const streamed = await client.send(new lambda.InvokeWithResponseStreamCommand({ FunctionName: streaming, Payload: "{}" }));
told.stream = { pieces: [], ends: [] };
for await (const event of streamed.EventStream) {
  if (event.PayloadChunk) told.stream.pieces.push(Buffer.from(event.PayloadChunk.Payload).toString());
  if (event.InvokeComplete) told.stream.ends.push(event.InvokeComplete.ErrorCode ?? null);
}

told.errors = [
  await refused(client.send(new lambda.GetFunctionCommand({ FunctionName: `${prefix}-none` }))),
  await refused(client.send(new lambda.CreateFunctionCommand(parameters))),
  await refused(client.send(new lambda.CreateFunctionCommand({ ...parameters, FunctionName: `${prefix}-old`, Runtime: "nodejs14.x" }))),
  await refused(client.send(new lambda.PublishVersionCommand({ FunctionName: name, RevisionId: "wrong" }))),
  await refused(client.send(new lambda.PutFunctionConcurrencyCommand({ FunctionName: name, ReservedConcurrentExecutions: -1 }))),
];

await client.send(new lambda.DeleteFunctionCommand({ FunctionName: name }));
await client.send(new lambda.DeleteFunctionCommand({ FunctionName: streaming }));
await client.send(new lambda.DeleteLayerVersionCommand({ LayerName: `${prefix}-layer`, VersionNumber: 1 }));
told.gone = (await refused(client.send(new lambda.GetFunctionCommand({ FunctionName: name })))).class;
// The SDK checks the MD5s of what it sends and receives on its own.
const queues = new sqs.SQSClient({ maxAttempts: 1 });
const { QueueUrl } = await queues.send(new sqs.CreateQueueCommand({ QueueName: `${prefix}-queue` }));
const MessageAttributes = { kind: { DataType: "String", StringValue: "new" }, raw: { DataType: "Binary", BinaryValue: new Uint8Array([0, 255]) } };
await queues.send(new sqs.SendMessageCommand({ QueueUrl, MessageBody: "from js", MessageAttributes }));
const { Messages } = await queues.send(
  new sqs.ReceiveMessageCommand({ QueueUrl, WaitTimeSeconds: 10, MessageAttributeNames: ["All"] }),
);
told.queue = { body: Messages[0].Body, kind: Messages[0].MessageAttributes.kind.StringValue, raw: [...Messages[0].MessageAttributes.raw.BinaryValue] };
const entry = { Id: "a", ReceiptHandle: Messages[0].ReceiptHandle };
told.queue.deleted = (await queues.send(new sqs.DeleteMessageBatchCommand({ QueueUrl, Entries: [entry] }))).Successful.length;
await queues.send(new sqs.DeleteQueueCommand({ QueueUrl }));
try {
  await queues.send(new sqs.SendMessageCommand({ QueueUrl, MessageBody: "late" }));
} catch (error) {
  told.queue.gone = error instanceof sqs.QueueDoesNotExist;
}

console.log(JSON.stringify(told));
