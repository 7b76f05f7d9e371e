export async function GET({ session }) {
  return Response.json(Object.fromEntries(await session.entries()))
}
