import pg from 'pg'
import { SaveHandler } from 'session-pgsql'
const N=20000
const url='postgresql://postgres@127.0.0.1:5618/postgres'
const h=new SaveHandler({db:url, gcInterval:0})
await h.open()
const c=new pg.Client({connectionString:url}); await c.connect()
const {rows:[{count}]}=await c.query('select count(*)::int from php_session')
const ids=Array.from({length:N},(_, i)=>'s'+String(i).padStart(31,'x'))
if(count<N){ const data={user:'ada',cart:Array.from({length:20},(_, i)=>'item-number-'+i+'-abc')}
  for(let i=0;i<N;i+=500) await Promise.all(ids.slice(i,i+500).map(id=>h.write(id,data,{lifetime:100000,address:'203.0.113.7'}))) ; await c.query('vacuum analyze php_session')}
const pick=()=>ids[(Math.random()*N)|0]
const AS_TEXT={getTypeParser:()=>t=>t}
const wide=`SELECT i.n, 'read', t.sess_data, extract(epoch FROM clock_timestamp())::float8, t.sess_id, t.sess_name, hashtextextended(t.sess_data COLLATE "C", 0), t.sess_created, t.sess_modified, t.sess_expire, t.sess_addr_created,t.sess_addr_modified,t.sess_counter,t.sess_error,t.sess_warning,t.sess_notice,t.sess_err_message,t.sess_custom,t.sess_generation FROM (SELECT * FROM unnest($1::text[]) WITH ORDINALITY AS x(id,n) LIMIT (SELECT 1000000)) i JOIN php_session t ON t.sess_id=i.id`
const narrow=`SELECT i.n, t.sess_data, hashtextextended(t.sess_data COLLATE "C", 0), concat_ws(E'\\x1f', t.sess_expire, t.sess_created, t.sess_modified, t.sess_counter, t.sess_generation, t.sess_name,t.sess_addr_created,t.sess_addr_modified,t.sess_error,t.sess_warning,t.sess_notice,t.sess_err_message,t.sess_custom) FROM (SELECT * FROM unnest($1::text[]) WITH ORDINALITY AS x(id,n) LIMIT (SELECT 1000000)) i JOIN php_session t ON t.sess_id=i.id`
const cast=`SELECT i.n, t.sess_data, hashtextextended(t.sess_data COLLATE "C", 0), row(t.sess_expire, t.sess_created, t.sess_modified, t.sess_counter, t.sess_generation, t.sess_name,t.sess_addr_created,t.sess_addr_modified,t.sess_error,t.sess_warning,t.sess_notice,t.sess_err_message,t.sess_custom)::text FROM (SELECT * FROM unnest($1::text[]) WITH ORDINALITY AS x(id,n) LIMIT (SELECT 1000000)) i JOIN php_session t ON t.sess_id=i.id`
const mini=`SELECT i.n, t.sess_data FROM (SELECT * FROM unnest($1::text[]) WITH ORDINALITY AS x(id,n) LIMIT (SELECT 1000000)) i JOIN php_session t ON t.sess_id=i.id`
const raw=(text,name)=>async(n,client)=>{ for(let i=0;i<n;i+=64){ const q=Array.from({length:64},pick); const {rows}=await client.query({text,name,values:['{'+q.join(',')+'}'],rowMode:'array',types:AS_TEXT}); let k=0; for(const r of rows){ k+=JSON.parse(r[text===wide?2:1]).user.length } } }
const backend=async client=>{ const pid=client.processID; return ()=>{ const f=fs.readFileSync(`/proc/${pid}/stat`,'utf8').split(') ')[1].split(' '); return (Number(f[11])+Number(f[12]))*10000 } }
import fs from 'node:fs'
const only=process.argv[2]
const contestants={
 handler: async n=>{ const per=n/64; await Promise.all(Array.from({length:64},async()=>{ for(let i=0;i<per;i++) await h.read(pick()) })) },
 wide: n=>raw(wide,'wide')(n,c), narrow:n=>raw(narrow,'narrow')(n,c), cast:n=>raw(cast,'cast')(n,c), mini:n=>raw(mini,'mini')(n,c),
}
const results={}
const all=()=>{ let t=0; for(const p of fs.readdirSync('/proc')) if(/^\d+$/.test(p)) { try{ const s=fs.readFileSync(`/proc/${p}/cmdline`,'utf8'); if(s.startsWith('postgres: ')&&s.includes('127.0.0.1')&&s.includes('postgres postgres')){ const f=fs.readFileSync(`/proc/${p}/stat`,'utf8').split(') ')[1].split(' '); t+=(Number(f[11])+Number(f[12]))*10000 } }catch{} } return t }
for(let round=0;round<16;round++) for(const [name,f] of Object.entries(contestants)){ if(only&&only!==name) continue; const n=19200; const b=all(); const t=performance.now(); const u=process.cpuUsage(); await f(n); const d=process.cpuUsage(u); const wall=performance.now()-t; const pgc=all()-b; if(round) (results[name]??=[]).push([(d.user+d.system)/n, pgc/n, wall*1000/n]) }
const med=a=>a.sort((x,y)=>x-y)[a.length>>2]
for(const [k,v] of Object.entries(results)) console.log(k.padEnd(10),'node us', med(v.map(x=>x[0])).toFixed(1),'pg us', med(v.map(x=>x[1])).toFixed(1),'wall us', med(v.map(x=>x[2])).toFixed(1))
await h.close(); await c.end()
