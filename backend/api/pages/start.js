// Draws the counts of /overview/v1/counts and reads them again every five seconds while the page is seen.
const GROUPS = {
  entries: "采集记录 Entries", mutations: "终端提交 Mutations", conflicts: "冲突 Conflicts", photos: "照片 Photos",
  verdicts: "核对结论 Verdicts", reports: "随手拍 Reports", declarations: "自主申报 Declarations", jobs: "任务 Jobs",
  devices: "终端 Devices", business_records: "部门数据 Business records",
};
const WORDS = {
  entries: { person: "人口", house: "房屋", organisation: "法人", component: "部件", event: "事件" },
  mutations: { applied: "生效", merged: "合并", conflict: "冲突", unchanged: "无变化", quarantined: "隔离待审" },
  conflicts: { hard: "同一字段", soft: "已自动合并" },
  photos: { expected: "待上传", received: "已收到", processed: "已处理", failed: "失败" },
  verdicts: {
    match: "一致", differs: "字段不一致", sources_differ: "多源不一致", name_differs: "名称不一致",
    ambiguous: "无法确定", not_found: "查无记录",
    id_self_inconsistent: "证件号有误", address_unknown: "地址未登记", out_of_grid: "不在本网格",
    flag_conflict: "人户标记不符", moved: "已迁移或移位", duplicate: "重复", rental_hazard: "出租屋隐患",
    organisation_closed: "已注销仍经营", component_unknown: "部件未登记", class_unknown: "类别未知", accepted: "予以采信",
  },
  reports: { assembling: "收集中", submitted: "已提交" },
  declarations: { in_force: "有效", withdrawn: "已撤回" },
  jobs: { ready: "等待", running: "执行中", done: "完成", dead: "失败待查" },
  devices: { enrolled: "已登记", waiting_changes: "未同步条数" },
  business_records: { population: "人口库", houses: "房屋库", organisations: "法人库", components: "部件库" },
  cases: {
    reported: "已上报", accepted: "已受理", registered: "已立案", dispatched: "已派遣", handling: "处置中",
    checking: "核查中", closed: "已办结", rejected: "不予立案",
  },
};
const STATES = Object.keys(WORDS.cases);

function word(group, code) {
  const chinese = WORDS[group]?.[code];
  return chinese ? `${chinese} ${code.replaceAll("_", " ")}` : code;
}

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function card(group, states) {
  const box = element("section", undefined, "card");
  box.append(element("h2", GROUPS[group]));
  const names = Object.keys(states).sort((one, other) => states[other] - states[one]);
  if (!names.length) { box.append(element("p", "暂无 none yet", "empty")); return box; }
  const list = element("dl");
  for (const name of names) list.append(element("dt", word(group, name)), element("dd", states[name].toLocaleString()));
  box.append(list);
  return box;
}

function caseTable(queues) {
  const box = element("section", undefined, "card");
  box.append(element("h2", "12345 案件队列 Cases by queue"));
  const names = Object.keys(queues);
  if (!names.length) { box.append(element("p", "暂无 none yet", "empty")); return box; }
  const states = STATES.filter((state) => names.some((name) => queues[name][state]));
  const table = element("table");
  const head = element("tr");
  head.append(element("th", "队列 Queue"), ...states.map((state) => element("th", word("cases", state), "number")));
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
    place.replaceChildren(...Object.keys(GROUPS).map((group) => card(group, counts[group] ?? {})));
    document.getElementById("cases").replaceChildren(caseTable(counts.cases));
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
