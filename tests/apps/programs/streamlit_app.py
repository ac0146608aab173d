"""A button that counts, an upload and a download."""

import streamlit as st

st.title("Board")
if st.button("count"):
    st.session_state.count = st.session_state.get("count", 0) + 1
st.write(f"counted {st.session_state.get('count', 0)}")
if (file := st.file_uploader("file")) is not None:
    st.write(f"{len(file.getvalue())} bytes")
st.download_button("download", "y" * 3_000_000, "report.txt")
