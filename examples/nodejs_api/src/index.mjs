// Greets by name; a missing name is the caller's mistake, not a failure of the function.
export const handler = async (event, context) => {
  const name = event.queryStringParameters?.name;
  if (!name) {
    return { statusCode: 400, body: JSON.stringify({ error: "send ?name=..." }) };
  }
  console.log("greeting", name);
  return { statusCode: 200, body: JSON.stringify({ greeting: `Hello, ${name}!`, function: context.functionName }) };
};
