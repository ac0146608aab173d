"""An application with a login, an upload and a download; what it makes of URLs is right by X-Forwarded-*."""

import io

from flask import Flask, redirect, request, send_file, session, url_for
from werkzeug.middleware.proxy_fix import ProxyFix

app = Flask(__name__)
app.secret_key = "the same in all instances"
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)


@app.get("/dir/")
def folder():
    return "<title>folder</title>"


@app.route("/login", methods=["GET", "POST"])
def login():
    if request.method == "POST":
        session["user"] = request.form["user"]
        return redirect(url_for("home"))
    return (
        f"<title>login</title><form method=post action='{url_for('login')}'><input name=user><button>in</button></form>"
    )


@app.get("/")
def home():
    if "user" not in session:
        return redirect(url_for("login"))
    here = url_for("home", _external=True)
    return f"""<title>hello {session["user"]}</title><p id=here>{here}</p><a href='{url_for("download")}'>download</a>
<form method=post enctype=multipart/form-data action='{url_for("upload")}'>
<input type=file name=file><button>send</button></form>"""


@app.post("/upload")
def upload():
    return f"<title>{len(request.files['file'].read())} bytes</title>"


@app.get("/download")
def download():
    return send_file(io.BytesIO(b"y" * 3_000_000), download_name="report.bin", as_attachment=True)
