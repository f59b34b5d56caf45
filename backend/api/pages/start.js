// Draws the counts of /overview/v1/counts and reads them again every five seconds while the page is seen.
const GROUPS = {
  entries: "采集记录 Entries", mutations: "终端提交 Mutations", conflicts: "冲突 Conflicts", photos: "照片 Photos",
  verdicts: "核对结论 Verdicts", reports: "随手拍 Reports", jobs: "任务 Jobs", devices: "终端 Devices",
  business_records: "部门数据 Business records",
};
const WORDS = {
  person: "人口", house: "房屋", organisation: "法人", component: "部件", event: "事件",
  applied: "已采纳", merged: "已合并", conflict: "有冲突", unchanged: "无变化", quarantined: "待审核",
  hard: "同一字段", soft: "已自动合并", expected: "待上传", received: "已收到", processed: "已处理", failed: "失败",
  match: "一致", differs: "不一致", name_differs: "姓名不一致", ambiguous: "无法确定", not_found: "未找到",
  id_self_inconsistent: "证件号有误", address_unknown: "地址未知", out_of_grid: "不在本网格", flag_conflict: "人户标记矛盾",
  moved: "已迁移", duplicate: "重复", rental_hazard: "出租隐患", organisation_closed: "已注销", component_unknown: "部件未知",
  class_unknown: "类别未知", accepted: "予以受理", ready: "等待", running: "执行中", done: "完成", dead: "失败",
  assembling: "收集中", submitted: "已提交", enrolled: "已绑定", waiting_changes: "未同步条数",
  population: "人口库", houses: "房屋库", organisations: "法人库", components: "部件库",
  reported: "已上报", registered: "已立案", dispatched: "已派遣", handling: "处置中", checking: "核查中",
  closed: "已结案", rejected: "不予立案",
};
const word = (code) => (WORDS[code] ? `${WORDS[code]} ${code}` : code);

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function card(title, states) {
  const box = element("section", undefined, "card");
  box.append(element("h2", title));
  const names = Object.keys(states);
  if (!names.length) { box.append(element("p", "暂无 none yet", "empty")); return box; }
  const list = element("dl");
  for (const name of names) list.append(element("dt", word(name)), element("dd", states[name].toLocaleString()));
  box.append(list);
  return box;
}

function caseTable(queues) {
  const box = element("section", undefined, "card wide");
  box.append(element("h2", "12345 案件队列 Cases by queue"));
  const names = Object.keys(queues);
  if (!names.length) { box.append(element("p", "暂无 none yet", "empty")); return box; }
  const states = [...new Set(names.flatMap((name) => Object.keys(queues[name])))].sort();
  const table = element("table");
  const head = element("tr");
  head.append(element("th", "队列 Queue"), ...states.map((state) => element("th", word(state))));
  table.append(head);
  for (const name of names) {
    const row = element("tr");
    row.append(element("td", name), ...states.map((state) => element("td", String(queues[name][state] ?? 0), "number")));
    table.append(row);
  }
  box.append(table);
  return box;
}

async function draw() {
  const place = document.getElementById("counts");
  const when = document.getElementById("when");
  try {
    const answer = await fetch("/overview/v1/counts");
    if (!answer.ok) throw new Error(String(answer.status));
    const counts = await answer.json();
    const cards = Object.keys(GROUPS).map((group) => card(GROUPS[group], counts[group] ?? {}));
    place.replaceChildren(...cards, caseTable(counts.cases));
    place.setAttribute("aria-busy", "false");
    when.className = "";
    when.textContent = `更新于 ${new Date().toLocaleTimeString("zh-CN")}`;
  } catch {
    when.className = "problem";
    when.textContent = "服务暂时没有应答，正在重试… The server does not answer, trying again…";
  }
}

draw();
setInterval(() => { if (!document.hidden) draw(); }, 5000);
