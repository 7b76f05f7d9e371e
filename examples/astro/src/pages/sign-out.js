export async function POST({ session }) {
  session.destroy()
  return new Response('done\n')
}
